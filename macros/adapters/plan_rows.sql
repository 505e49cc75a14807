{# Rows that the tracking plan's SQL makes: of an object's members, an array's elements, and what is written out. #}

{# After a CTE's `as`: it is read several times, and is never written down. #}
{% macro read_anew() -%}
    {{ return(adapter.dispatch('read_anew', 'revetl')()) }}
{%- endmacro %}

{% macro default__read_anew() -%}
    {{ return('') }}
{%- endmacro %}

{% macro duckdb__read_anew() -%}
    {{ return(' not materialized') }}
{%- endmacro %}

{% macro postgres__read_anew() -%}
    {{ return(' not materialized') }}
{%- endmacro %}

{% macro redshift__read_anew() -%}
    {{ return('') }}
{%- endmacro %}

{# A join to the members of a JSON text that is an object, one row a member. #}
{% macro join_json_members(text, alias) -%}
    {{ return(adapter.dispatch('join_json_members', 'revetl')(text, alias)) }}
{%- endmacro %}

{% macro default__join_json_members(text, alias) -%}
    cross join lateral jsonb_each(cast({{ text }} as jsonb)) as {{ alias }} (name, content)
{%- endmacro %}

{% macro duckdb__join_json_members(text, alias) -%}
    cross join unnest(json_keys({{ text }})) as {{ alias }} (name)
{%- endmacro %}

{% macro snowflake__join_json_members(text, alias) -%}
    cross join lateral flatten(input => parse_json({{ text }})) as {{ alias }}
{%- endmacro %}

{% macro bigquery__join_json_members(text, alias) -%}
    cross join unnest(json_keys(safe.parse_json({{ text }}, wide_number_mode => 'round'), 1)) as {{ alias }}
{%- endmacro %}

{% macro redshift__join_json_members(text, alias) -%}
    , unpivot json_parse({{ text }}) as {{ alias }}_content at {{ alias }}_name
{%- endmacro %}

{% macro spark__join_json_members(text, alias) -%}
    cross join lateral variant_explode(try_parse_json({{ text }})) as {{ alias }} (place, name, content)
{%- endmacro %}

{% macro fabric__join_json_members(text, alias) -%}
    cross apply openjson({{ text }}) as {{ alias }}
{%- endmacro %}

{# A member's name, and its value as JSON text, of such a join. #}
{% macro json_member_name(alias) -%}
    {{ return(adapter.dispatch('json_member_name', 'revetl')(alias)) }}
{%- endmacro %}

{% macro default__json_member_name(alias) -%}
    {{ return(alias ~ '.name') }}
{%- endmacro %}

{% macro snowflake__json_member_name(alias) -%}
    {{ return(alias ~ '.key') }}
{%- endmacro %}

{% macro bigquery__json_member_name(alias) -%}
    {{ return(alias) }}
{%- endmacro %}

{% macro redshift__json_member_name(alias) -%}
    {{ return('cast(' ~ alias ~ '_name as varchar(65535))') }}
{%- endmacro %}

{% macro fabric__json_member_name(alias) -%}
    {{ return(alias ~ '.[key]') }}
{%- endmacro %}

{% macro json_member_text(text, alias) -%}
    {{ return(adapter.dispatch('json_member_text', 'revetl')(text, alias)) }}
{%- endmacro %}

{% macro default__json_member_text(text, alias) -%}
    cast({{ alias }}.content as {{ revetl.type_of('varchar') }})
{%- endmacro %}

{% macro duckdb__json_member_text(text, alias) -%}
    cast(json_extract({{ text }}, '/' || replace(replace({{ alias }}.name, '~', '~0'), '/', '~1')) as varchar)
{%- endmacro %}

{% macro snowflake__json_member_text(text, alias) -%}
    to_json({{ alias }}.value)
{%- endmacro %}

{% macro bigquery__json_member_text(text, alias) -%}
    to_json_string(safe.parse_json({{ text }}, wide_number_mode => 'round')[{{ alias }}])
{%- endmacro %}

{% macro redshift__json_member_text(text, alias) -%}
    json_serialize({{ alias }}_content)
{%- endmacro %}

{% macro spark__json_member_text(text, alias) -%}
    to_json({{ alias }}.content)
{%- endmacro %}

{% macro fabric__json_member_text(text, alias) -%}
    case {{ alias }}.[type]
        when 0 then 'null'
        when 1 then concat('"', string_escape({{ alias }}.[value], 'json'), '"')
        else {{ alias }}.[value]
    end
{%- endmacro %}

{# The names in the documents of a relation, each once a day and event. #}
{% macro property_names(relation) -%}
    {{ return(adapter.dispatch('property_names', 'revetl')(relation)) }}
{%- endmacro %}

{% macro default__property_names(relation) -%}
    {% set text = revetl.plan_value({'level': 0}, 0) -%}
    select distinct
        texts.message_type,
        texts.event_name,
        texts.day,
        {{ revetl.json_member_name('member') }} as property_name
    from (
        select
            message_type,
            event_name,
            day,
            {{ text }} as document_text
        from {{ relation }}
        where {{ revetl.is_json(text, 'object') }}
    ) as texts
    {{ revetl.join_json_members('texts.document_text', 'member') }}
{%- endmacro %}

{% macro duckdb__property_names(relation) -%}
    select distinct
        message_type,
        event_name,
        day,
        unnest(json_keys(content)) as property_name
    from {{ relation }}
{%- endmacro %}

{# In an aggregate: names in their order, with commas. #}
{% macro listed_names(name) -%}
    {{ return(adapter.dispatch('listed_names', 'revetl')(name)) }}
{%- endmacro %}

{% macro default__listed_names(name) -%}
    {{ dbt.listagg(name, "', '", 'order by ' ~ revetl.by_code_point(name)) }}
{%- endmacro %}

{# dbt's own has no order there. #}
{% macro spark__listed_names(name) -%}
    array_join(sort_array(collect_list({{ name }})), ', ')
{%- endmacro %}

{# An array in a document, for `elements_of`. #}
{% macro plan_array(document, names) -%}
    {{ return(adapter.dispatch('plan_array', 'revetl')(document, names)) }}
{%- endmacro %}

{% macro default__plan_array(document, names) -%}
    {{ return(revetl.json_value(document, names)) }}
{%- endmacro %}

{# Its elements at once: of anything else, none. #}
{% macro duckdb__plan_array(document, names) -%}
    {{ return('json_extract(' ~ document ~ ', ' ~ revetl.json_path(names)[:-1] ~ "[*]')") }}
{%- endmacro %}

{# The rows of a relation, once for each element of the array in its column `elements`: as JSON in `content`, and with
   its place from 0 in `element_place`. #}
{% macro elements_of(relation) -%}
    {{ return(adapter.dispatch('elements_of', 'revetl')(relation)) }}
{%- endmacro %}

{% macro default__elements_of(relation) -%}
    select
        {{ relation }}.*,
        element.content,
        element.place - 1 as element_place
    from {{ relation }}
    cross join lateral jsonb_array_elements(
        case when jsonb_typeof({{ relation }}.elements) = 'array' then {{ relation }}.elements end
    ) with ordinality as element (content, place)
{%- endmacro %}

{# A join to them would look for each list among all. #}
{% macro duckdb__elements_of(relation) -%}
    select
        *,
        unnest(elements) as content,
        generate_subscripts(elements, 1) - 1 as element_place
    from {{ relation }}
{%- endmacro %}

{% macro snowflake__elements_of(relation) -%}
    select
        {{ relation }}.*,
        element.value as content,
        element.index as element_place
    from {{ relation }}
    cross join lateral flatten(
        input => case when is_array({{ relation }}.elements) then {{ relation }}.elements end
    ) as element
{%- endmacro %}

{% macro bigquery__elements_of(relation) -%}
    select
        {{ relation }}.*,
        content,
        element_place
    from {{ relation }}
    cross join unnest(json_query_array({{ relation }}.elements)) as content with offset as element_place
{%- endmacro %}

{% macro redshift__elements_of(relation) -%}
    select
        {{ relation }}.*,
        content,
        element_place
    from {{ relation }}, {{ relation }}.elements as content at element_place
{%- endmacro %}

{% macro spark__elements_of(relation) -%}
    select
        {{ relation }}.*,
        to_json(element.content) as content,
        element.place as element_place
    from {{ relation }}
    cross join lateral variant_explode(
        case when schema_of_variant({{ relation }}.elements) like 'ARRAY%' then {{ relation }}.elements end
    ) as element (place, name, content)
{%- endmacro %}

{% macro fabric__elements_of(relation) -%}
    select
        {{ relation }}.*,
        {{ revetl.json_member_text('', 'element') }} as content,
        element.[key] as element_place
    from {{ relation }}
    cross apply openjson(case when left({{ relation }}.elements, 1) = '[' then {{ relation }}.elements end) as element
{%- endmacro %}

{# Rows that are written out, as a query. #}
{% macro listed_rows(columns, rows) -%}
    {{ return(adapter.dispatch('listed_rows', 'revetl')(columns, rows)) }}
{%- endmacro %}

{% macro default__listed_rows(columns, rows) -%}
    select * from (values
        {%- for row in rows %}
        ({{ row | join(', ') }}){{ ',' if not loop.last }}
        {%- endfor %}
    ) as listed ({{ columns | join(', ') }})
{%- endmacro %}

{% macro bigquery__listed_rows(columns, rows) -%}
    select * from unnest([struct<{% for column in columns %}{{ column }} {{
        'int64' if column in ['document_number', 'rule_number', 'condition_number', 'value_number', 'closed_number'] else 'string' }}{{ ', ' if not loop.last }}{% endfor %}>
        {%- for row in rows %}
        ({{ row | join(', ') }}){{ ',' if not loop.last }}
        {%- endfor %}
    ])
{%- endmacro %}

{# It lists rows only to insert them. #}
{% macro redshift__listed_rows(columns, rows) -%}
    {% for row in rows -%}
    select {% for value in row %}{{ value }} as {{ columns[loop.index0] }}{{ ', ' if not loop.last }}{% endfor %}
    {{ 'union all' if not loop.last }}
    {% endfor %}
{%- endmacro %}
