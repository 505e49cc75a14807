{# The values that the tracking plan's rules look at, as JSON texts, numbers and conditions. #}

{# The value that names lead to in a document, as JSON text; null where it is absent, and `null` for JSON's null. #}
{% macro json_value_text(document, names) -%}
    {{ return(adapter.dispatch('json_value_text', 'revetl')(document, names)) }}
{%- endmacro %}

{% macro default__json_value_text(document, names) -%}
    cast({{ revetl.json_value(document, names) }} as {{ revetl.type_of('varchar') }})
{%- endmacro %}

{% macro snowflake__json_value_text(document, names) -%}
    to_json({{ revetl.json_value(document, names) }})
{%- endmacro %}

{# JSON's null is no null of SQL, until it is written as a text. #}
{% macro bigquery__json_value_text(document, names) -%}
    {% set value = revetl.json_value(document, names) -%}
    case when {{ value }} is not null then to_json_string({{ value }}) end
{%- endmacro %}

{# JSON's null is a null of SQL, and so absent. #}
{% macro redshift__json_value_text(document, names) -%}
    {% set value = revetl.json_value(document, names) -%}
    case when {{ value }} is not null then json_serialize({{ value }}) end
{%- endmacro %}

{# The value itself, of the engine's type of JSON. #}
{% macro json_value(document, names) -%}
    {{ return(adapter.dispatch('json_value', 'revetl')(document, names)) }}
{%- endmacro %}

{% macro default__json_value(document, names) -%}
    {% set read = namespace(sql=document) -%}
    {% for name in names -%}
        {% set read.sql = '(' ~ read.sql ~ ' -> ' ~ revetl.text_literal(name) ~ ')' -%}
    {% endfor -%}
    {{ return(read.sql) }}
{%- endmacro %}

{% macro postgres__json_value(document, names) -%}
    {{ return(revetl.default__json_value(revetl.postgres_json(document), names)) }}
{%- endmacro %}

{% macro duckdb__json_value(document, names) -%}
    {{ return('json_extract(' ~ document ~ ', ' ~ revetl.json_path(names) ~ ')') }}
{%- endmacro %}

{% macro snowflake__json_value(document, names) -%}
    {{ return(document ~ (':"' ~ names | join('"."') ~ '"' if names else '')) }}
{%- endmacro %}

{% macro bigquery__json_value(document, names) -%}
    {{ return('json_query(' ~ document ~ ', ' ~ revetl.json_path(names) ~ ')') }}
{%- endmacro %}

{% macro redshift__json_value(document, names) -%}
    {{ return(document ~ ('."' ~ names | join('"."') ~ '"' if names else '')) }}
{%- endmacro %}

{# Documents are texts, of which only a variant tells a number from a text of digits. #}
{% macro spark__json_value(document, names) -%}
    {% set read = namespace(path='$') -%}
    {% for name in names -%}
        {% set read.path = read.path ~ '["' ~ name ~ '"]' -%}
    {% endfor -%}
    {% set variant = 'try_parse_json(' ~ document ~ ')' -%}
    {{ return('variant_get(' ~ variant ~ ', ' ~ revetl.text_literal(read.path) ~ ", 'variant')" if names else variant) }}
{%- endmacro %}

{% macro spark__json_value_text(document, names) -%}
    to_json({{ revetl.json_value(document, names) }})
{%- endmacro %}

{# The text of a value, and not of its type, says nothing of it. #}
{% macro fabric__json_value(document, names) -%}
    {% if not names -%}
        {{ return(document) }}
    {% endif -%}
    {{ return("(select case member.[type] when 0 then 'null' when 1 then concat('\"', string_escape(member.[value], 'json'), '\"')"
        ~ ' else member.[value] end from openjson(' ~ document ~ ', ' ~ revetl.json_path(names[:-1]) ~ ') as member where '
        ~ revetl.by_code_point('member.[key]') ~ ' = ' ~ revetl.text_literal(names[-1]) ~ ')') }}
{%- endmacro %}

{# Names as a path, in quotes. #}
{% macro json_path(names) -%}
    {% set read = namespace(path='$') -%}
    {% for name in names -%}
        {% set read.path = read.path ~ '."' ~ name ~ '"' -%}
    {% endfor -%}
    {{ return(revetl.text_literal(read.path)) }}
{%- endmacro %}

{# The rows of `documents`, each with all values that its rules look at, from one reading of it; or just the rows, where
   a value is read where it is looked at. #}
{% macro documents_with_values(documents) -%}
    {{ return(adapter.dispatch('documents_with_values', 'revetl')(documents)) }}
{%- endmacro %}

{% macro default__documents_with_values(documents) -%}
    select * from documents
{%- endmacro %}

{# What is random is made once, and not again wherever it is looked at: so a document is not read for each condition of
   its values, nor its number worked out for each of it. A gap is a place in an array, which is none. #}
{% macro duckdb__documents_with_values(documents) -%}
    select
        * replace (case when random() >= 0 then document_number end as document_number)
        {%- for place in range(1, (documents | map(attribute='paths') | map('length') | max) + 1) %},
        found_values[{{ place }}] as value_{{ place }}
        {%- endfor %}
        {%- for place in revetl.number_places(documents) %},
        try_cast(found_values[{{ place }}] as double) as number_{{ place }}
        {%- endfor %}
    from (
        select
            *,
            case when random() >= 0 then cast(case document_number
                when 0 then null
                {%- for document in documents if document.paths %}
                when {{ document.number }} then json_extract(content, [
                    {%- for names in document.paths %}
                    {{- revetl.json_path(names) if names else "'$[0]'" }}{{ ', ' if not loop.last }}
                    {%- endfor %}])
                {%- endfor %}
                else cast(null as json [])
            end as varchar []) end as found_values
        from documents
    ) as read_documents
{%- endmacro %}

{# The places of values that are compared as numbers. #}
{% macro number_places(documents) -%}
    {% set places = [] -%}
    {% for document in documents -%}
        {% for rule in document.rules if rule.at and (
            rule.limit or rule.numbers or 'number' in (rule.types or []) or 'integer' in (rule.types or [])) -%}
            {% do places.append(rule.at) -%}
        {% endfor -%}
    {% endfor -%}
    {{ return(places | unique | sort) }}
{%- endmacro %}

{% macro postgres__documents_with_values(documents) -%}
    select
        *,
        case when random() >= 0 then case document_number
            when 0 then null
            {%- for document in documents if document.paths %}
            when {{ document.number }} then array[
                {%- for names in document.paths %}
                {{- revetl.json_value_text('content', names) if names else 'null' }}{{ ', ' if not loop.last }}
                {%- endfor %}]
            {%- endfor %}
            else cast(null as text [])
        end end as found_values
    from documents
{%- endmacro %}

{% macro redshift__documents_with_values(documents) -%}
    {{ revetl.default__documents_with_values(documents) }}
{%- endmacro %}

{# One of them as JSON text: by its place, from 1; 0 is the document. #}
{% macro plan_value(document, place) -%}
    {{ return(adapter.dispatch('plan_value', 'revetl')(document, place)) }}
{%- endmacro %}

{% macro default__plan_value(document, place) -%}
    {{ return(revetl.json_value_text('content', document.paths[place - 1] if place else [])) }}
{%- endmacro %}

{% macro duckdb__plan_value(document, place) -%}
    {% if place -%}
        {{ return('value_' ~ place) }}
    {% endif -%}
    {% set text = 'cast(content as varchar)' -%}
    {{ return(text if document.level else 'ltrim(' ~ text ~ ", ' ' || chr(9) || chr(10) || chr(13))") }}
{%- endmacro %}

{% macro postgres__plan_value(document, place) -%}
    {{ return('found_values[' ~ place ~ ']' if place else 'cast(content as text)') }}
{%- endmacro %}

{% macro redshift__plan_value(document, place) -%}
    {{ return(revetl.default__plan_value(document, place)) }}
{%- endmacro %}

{# One of them as a number; null where it is none. #}
{% macro plan_number(document, place) -%}
    {{ return(adapter.dispatch('plan_number', 'revetl')(document, place)) }}
{%- endmacro %}

{% macro default__plan_number(document, place) -%}
    {{ return(revetl.json_number(revetl.plan_value(document, place))) }}
{%- endmacro %}

{% macro duckdb__plan_number(document, place) -%}
    {{ return('number_' ~ place if place else revetl.default__plan_number(document, place)) }}
{%- endmacro %}

{# Whether one of them is of a type. #}
{% macro plan_is(document, place, type) -%}
    {{ return(adapter.dispatch('plan_is', 'revetl')(document, place, type)) }}
{%- endmacro %}

{% macro default__plan_is(document, place, type) -%}
    {% set text = revetl.plan_value(document, place) -%}
    {% if type == 'integer' -%}
        {% set number = revetl.plan_number(document, place) -%}
        {{ return(revetl.is_json(text, 'number') ~ ' and ' ~ number ~ ' = floor(' ~ number ~ ')') }}
    {% endif -%}
    {{ return(revetl.is_json(text, type)) }}
{%- endmacro %}

{# What can be read as a number is one, for a text is in quotes. #}
{% macro duckdb__plan_is(document, place, type) -%}
    {% set number = revetl.plan_number(document, place) -%}
    {% if type == 'number' -%}
        {{ return(number ~ ' is not null') }}
    {% elif type == 'integer' -%}
        {{ return('(' ~ number ~ ' is not null and ' ~ number ~ ' = floor(' ~ number ~ '))') }}
    {% endif -%}
    {{ return(revetl.default__plan_is(document, place, type)) }}
{%- endmacro %}

{# Whether a closed object of a document may have a property that is not planned, if that is sooner said. #}
{% macro may_have_unplanned(document, closed) -%}
    {{ return(adapter.dispatch('may_have_unplanned', 'revetl')(document, closed)) }}
{%- endmacro %}

{% macro default__may_have_unplanned(document, closed) -%}
    {{ return(revetl.has_unplanned(document, closed)) }}
{%- endmacro %}

{# Where its planned properties are all that is read, it has more names than were found. #}
{% macro duckdb__may_have_unplanned(document, closed) -%}
    {% set depths = [1] + document.paths | select | map('length') | list -%}
    {% if closed.at or depths | max > 1 -%}
        {{ return(revetl.has_unplanned(document, closed)) }}
    {% endif -%}
    {{ return('len(json_keys(content)) > coalesce(list_count(found_values), 0)') }}
{%- endmacro %}

{# The value that a row of `rules` is about, in a row of `numbered`. #}
{% macro plan_value_of_rule(plan) -%}
    {{ return(adapter.dispatch('plan_value_of_rule', 'revetl')(plan)) }}
{%- endmacro %}

{% macro default__plan_value_of_rule(plan) -%}
    {% set cases = [] -%}
    {% for document in plan.documents -%}
        {% for rule in document.rules if rule.rule != 'required' -%}
            {% do cases.append('when ' ~ rule.number ~ ' then ' ~ revetl.plan_value(document, rule.at)) -%}
        {% endfor -%}
    {% endfor -%}
    {{ return('case rules.rule_number ' ~ cases | join(' ') ~ ' end' if cases else 'cast(null as ' ~ revetl.type_of('varchar') ~ ')') }}
{%- endmacro %}

{% macro duckdb__plan_value_of_rule(plan) -%}
    {{ return("case when rules.rule_name = 'required' then null when rules.value_number = 0 then cast(content as varchar) else found_values[rules.value_number] end") }}
{%- endmacro %}

{% macro postgres__plan_value_of_rule(plan) -%}
    {{ return("case when rules.rule_name = 'required' then null when rules.value_number = 0 then cast(content as text) else found_values[rules.value_number] end") }}
{%- endmacro %}

{% macro redshift__plan_value_of_rule(plan) -%}
    {{ return(revetl.default__plan_value_of_rule(plan)) }}
{%- endmacro %}
