{# A JSON value written anew, as JSON text: of objects some members, or all but some, some of them written anew
   themselves, and others added; of arrays each element. `shape` says which:

   - `only`: the names of the members that stay; all of them without it. `without`: names that go.
   - `inside`: name to the shape of what the member is; `items`: the shape of the elements of an array.
   - `added`: pairs of a name and JSON text in SQL; one that is null is not added.

   What a shape says of objects, it does not say of anything else. #}
{% macro json_rewritten(value, shape, level=0) -%}
    {% set rows = {'alias': 'part_' ~ level, 'level': level, 'shape': shape} -%}
    {% set cases = [] -%}
    {% if 'items' in shape -%}
        {% do cases.append('when ' ~ revetl.is_json_kind(value, 'array') ~ ' then '
            ~ dbt.concat(["'['", revetl.without_first(revetl.joined_elements(value, rows)), "']'"])) -%}
    {% endif -%}
    {% if shape.only is defined or shape.without or shape.inside or shape.added -%}
        {% set members = [revetl.joined_members(value, rows)] -%}
        {% for name, text in shape.added or [] -%}
            {% do members.append(revetl.member_added(revetl.text_literal(',' ~ tojson(name) ~ ':'), text)) -%}
        {% endfor -%}
        {% do cases.append('when ' ~ revetl.is_json_kind(value, 'object') ~ ' then '
            ~ dbt.concat(["'{'", revetl.without_first(
                members[0] if members | length == 1 else dbt.concat(members)), "'}'"])) -%}
    {% endif -%}
    {{ return('case ' ~ cases | join(' ') ~ ' else ' ~ revetl.json_value_text(value, []) ~ ' end'
        if cases else revetl.json_value_text(value, [])) }}
{%- endmacro %}

{# A column as a JSON value, whichever type of those that hold JSON it has. #}
{% macro json_document(column) -%}
    {{ return(adapter.dispatch('json_document', 'revetl')(column)) }}
{%- endmacro %}

{% macro default__json_document(column) -%}
    {{ return(column) }}
{%- endmacro %}

{% macro postgres__json_document(column) -%}
    {{ return(revetl.postgres_json(column)) }}
{%- endmacro %}

{% macro redshift__json_document(column) -%}
    {{ return(column) }}
{%- endmacro %}

{# A member's name, with what is around it, and its text; nothing where that is null. #}
{% macro member_added(name, text) -%}
    {{ return(adapter.dispatch('member_added', 'revetl')(name, text)) }}
{%- endmacro %}

{% macro default__member_added(name, text) -%}
    {{ return('coalesce(' ~ name ~ ' || ' ~ text ~ ", '')") }}
{%- endmacro %}

{% macro fabric__member_added(name, text) -%}
    {{ return('coalesce(' ~ name ~ ' + ' ~ text ~ ", '')") }}
{%- endmacro %}

{# Whether a member stays, by its name. #}
{% macro stays_in(name, shape) -%}
    {% set conditions = [] -%}
    {% if shape.only is defined -%}
        {% do conditions.append(name ~ ' in (' ~ revetl.text_literals(shape.only) ~ ')' if shape.only else revetl.never()) -%}
    {% endif -%}
    {% if shape.without -%}
        {% do conditions.append(name ~ ' not in (' ~ revetl.text_literals(shape.without) ~ ')') -%}
    {% endif -%}
    {{ return(conditions | join(' and ') or '1 = 1') }}
{%- endmacro %}

{# A comma, a member's name and its text, written anew where the shape says so. #}
{% macro member_rewritten(quoted_name, name, value, text, rows) -%}
    {% set cases = [] -%}
    {% for inside, shape in (rows.shape.inside or {}).items() -%}
        {% do cases.append('when ' ~ revetl.text_literal(inside) ~ ' then '
            ~ revetl.json_rewritten(value, shape, rows.level + 1)) -%}
    {% endfor -%}
    {{ return(dbt.concat(["','", quoted_name, "':'",
        'case ' ~ name ~ ' ' ~ cases | join(' ') ~ ' else ' ~ text ~ ' end' if cases else text])) }}
{%- endmacro %}

{% macro without_first(text) -%}
    {{ return(adapter.dispatch('without_first', 'revetl')(text)) }}
{%- endmacro %}

{% macro default__without_first(text) -%}
    {{ return("coalesce(substr(" ~ text ~ ", 2), '')") }}
{%- endmacro %}

{% macro fabric__without_first(text) -%}
    {{ return("coalesce(stuff(" ~ text ~ ", 1, 1, ''), '')") }}
{%- endmacro %}

{# Whether a value is an object, or an array. #}
{% macro is_json_kind(value, kind) -%}
    {{ return(adapter.dispatch('is_json_kind', 'revetl')(value, kind)) }}
{%- endmacro %}

{% macro default__is_json_kind(value, kind) -%}
    {{ return('jsonb_typeof(' ~ value ~ ") = '" ~ kind ~ "'") }}
{%- endmacro %}

{% macro duckdb__is_json_kind(value, kind) -%}
    {{ return('json_type(' ~ value ~ ") = '" ~ kind | upper ~ "'") }}
{%- endmacro %}

{% macro snowflake__is_json_kind(value, kind) -%}
    {{ return('is_' ~ kind ~ '(' ~ value ~ ')') }}
{%- endmacro %}

{% macro redshift__is_json_kind(value, kind) -%}
    {{ return('is_' ~ kind ~ '(' ~ value ~ ')') }}
{%- endmacro %}

{% macro bigquery__is_json_kind(value, kind) -%}
    {{ return('json_type(' ~ value ~ ") = '" ~ kind ~ "'") }}
{%- endmacro %}

{% macro spark__is_json_kind(value, kind) -%}
    {{ return('left(ltrim(' ~ value ~ "), 1) = '" ~ {'object': '{', 'array': '['}[kind] ~ "'") }}
{%- endmacro %}

{% macro fabric__is_json_kind(value, kind) -%}
    {{ return('left(ltrim(' ~ value ~ "), 1) = '" ~ {'object': '{', 'array': '['}[kind] ~ "'") }}
{%- endmacro %}

{# The members of an object that stay, each with a comma before it. #}
{% macro joined_members(value, rows) -%}
    {{ return(adapter.dispatch('joined_members', 'revetl')(value, rows)) }}
{%- endmacro %}

{% macro default__joined_members(value, rows) -%}
    {% set name, content = rows.alias ~ '.name', rows.alias ~ '.content' -%}
    {{ return("coalesce((select string_agg("
        ~ revetl.member_rewritten('cast(to_json(' ~ name ~ ') as text)', name, content, 'cast(' ~ content ~ ' as text)', rows)
        ~ ", '') from jsonb_each(case when " ~ revetl.is_json_kind(value, 'object') ~ ' then ' ~ value ~ ' end) as '
        ~ rows.alias ~ ' (name, content) where ' ~ revetl.stays_in(name, rows.shape) ~ "), '')") }}
{%- endmacro %}

{% macro duckdb__joined_members(value, rows) -%}
    {% set name = rows.alias -%}
    {% set content = 'json_extract(' ~ value ~ ", '/' || replace(replace(" ~ name ~ ", '~', '~0'), '/', '~1'))" -%}
    {{ return('array_to_string(list_transform(list_filter(json_keys(' ~ value ~ '), lambda ' ~ name ~ ': '
        ~ revetl.stays_in(name, rows.shape) ~ '), lambda ' ~ name ~ ': '
        ~ revetl.member_rewritten('cast(to_json(' ~ name ~ ') as varchar)', name, content, 'cast(' ~ content ~ ' as varchar)', rows)
        ~ "), '')") }}
{%- endmacro %}

{% macro snowflake__joined_members(value, rows) -%}
    {% set name = rows.alias -%}
    {% set content = 'get(' ~ value ~ ', ' ~ name ~ ')' -%}
    {{ return('array_to_string(transform(filter(object_keys(' ~ value ~ '), ' ~ name ~ ' varchar -> '
        ~ revetl.stays_in(name, rows.shape) ~ '), ' ~ name ~ ' varchar -> '
        ~ revetl.member_rewritten('to_json(to_variant(' ~ name ~ '))', name, content, 'to_json(' ~ content ~ ')', rows)
        ~ "), '')") }}
{%- endmacro %}

{% macro bigquery__joined_members(value, rows) -%}
    {% set name = rows.alias -%}
    {% set content = value ~ '[' ~ name ~ ']' -%}
    {{ return('coalesce((select string_agg('
        ~ revetl.member_rewritten('to_json_string(' ~ name ~ ')', name, content, 'to_json_string(' ~ content ~ ')', rows)
        ~ ", '') from unnest(json_keys(" ~ value ~ ', 1)) as ' ~ name ~ ' where ' ~ revetl.stays_in(name, rows.shape)
        ~ "), '')") }}
{%- endmacro %}

{% macro redshift__joined_members(value, rows) -%}
    {% set name, content = 'cast(' ~ rows.alias ~ '_name as varchar(65535))', rows.alias ~ '_content' -%}
    {{ return('coalesce((select listagg('
        ~ revetl.member_rewritten('json_serialize(' ~ rows.alias ~ '_name)', name, content, 'json_serialize(' ~ content ~ ')', rows)
        ~ ", '') from unpivot " ~ value ~ ' as ' ~ content ~ ' at ' ~ rows.alias ~ '_name where '
        ~ revetl.stays_in(name, rows.shape) ~ "), '')") }}
{%- endmacro %}

{# A member is read as a variant, which tells a number from a text of digits. #}
{% macro spark__joined_members(value, rows) -%}
    {% set name = rows.alias -%}
    {% set content = "coalesce(to_json(element_at(from_json(" ~ value ~ ", 'map<string, variant>'), " ~ name ~ ")), 'null')" -%}
    {{ return('array_join(transform(filter(json_object_keys(' ~ value ~ '), ' ~ name ~ ' -> '
        ~ revetl.stays_in(name, rows.shape) ~ '), ' ~ name ~ ' -> '
        ~ revetl.member_rewritten('to_json(cast(' ~ name ~ ' as variant))', name, content, content, rows)
        ~ "), '')") }}
{%- endmacro %}

{% macro fabric__joined_members(value, rows) -%}
    {% set name = revetl.by_code_point(rows.alias ~ '.[key]') -%}
    {% set content = revetl.json_member_text('', rows.alias) -%}
    {{ return("coalesce((select string_agg(cast("
        ~ revetl.member_rewritten("concat('\"', string_escape(" ~ rows.alias ~ ".[key], 'json'), '\"')", name, rows.alias ~ '.[value]', content, rows)
        ~ " as varchar(max)), '') from openjson(" ~ value ~ ') as ' ~ rows.alias ~ ' where '
        ~ revetl.stays_in(name, rows.shape) ~ "), '')") }}
{%- endmacro %}

{# The elements of an array, each with a comma before it. #}
{% macro joined_elements(value, rows) -%}
    {{ return(adapter.dispatch('joined_elements', 'revetl')(value, rows)) }}
{%- endmacro %}

{% macro default__joined_elements(value, rows) -%}
    {% set content = rows.alias ~ '.content' -%}
    {{ return("coalesce((select string_agg(',' || "
        ~ revetl.json_rewritten(content, rows.shape['items'], rows.level + 1) ~ ", '' order by " ~ rows.alias
        ~ '.place) from jsonb_array_elements(case when ' ~ revetl.is_json_kind(value, 'array') ~ ' then ' ~ value
        ~ ' end) with ordinality as ' ~ rows.alias ~ " (content, place)), '')") }}
{%- endmacro %}

{% macro duckdb__joined_elements(value, rows) -%}
    {{ return('array_to_string(list_transform(json_extract(' ~ value ~ ", '$[*]'), lambda " ~ rows.alias ~ ": ',' || "
        ~ revetl.json_rewritten(rows.alias, rows.shape['items'], rows.level + 1) ~ "), '')") }}
{%- endmacro %}

{% macro snowflake__joined_elements(value, rows) -%}
    {{ return('array_to_string(transform(' ~ value ~ '::array, ' ~ rows.alias ~ " variant -> ',' || "
        ~ revetl.json_rewritten(rows.alias, rows.shape['items'], rows.level + 1) ~ "), '')") }}
{%- endmacro %}

{% macro bigquery__joined_elements(value, rows) -%}
    {{ return("coalesce((select string_agg(concat(',', "
        ~ revetl.json_rewritten(rows.alias, rows.shape['items'], rows.level + 1) ~ "), '' order by " ~ rows.alias
        ~ '_place) from unnest(json_query_array(' ~ value ~ ')) as ' ~ rows.alias ~ ' with offset as ' ~ rows.alias
        ~ "_place), '')") }}
{%- endmacro %}

{% macro redshift__joined_elements(value, rows) -%}
    {{ return("coalesce((select listagg(',' || "
        ~ revetl.json_rewritten(rows.alias, rows.shape['items'], rows.level + 1) ~ ", '') within group (order by " ~ rows.alias
        ~ '_place) from ' ~ value ~ ' as ' ~ rows.alias ~ ' at ' ~ rows.alias ~ "_place), '')") }}
{%- endmacro %}

{% macro spark__joined_elements(value, rows) -%}
    {% set text = "coalesce(to_json(" ~ rows.alias ~ "_read), 'null')" -%}
    {{ return('array_join(transform(transform(from_json(' ~ value ~ ", 'array<variant>'), " ~ rows.alias ~ '_read -> ' ~ text ~ '), '
        ~ rows.alias ~ " -> concat(',', " ~ revetl.json_rewritten(rows.alias, rows.shape['items'], rows.level + 1) ~ ")), '')") }}
{%- endmacro %}

{% macro fabric__joined_elements(value, rows) -%}
    {{ return("coalesce((select string_agg(cast(concat(',', case when " ~ rows.alias ~ '.[type] in (4, 5) then '
        ~ revetl.json_rewritten(rows.alias ~ '.[value]', rows.shape['items'], rows.level + 1) ~ ' else '
        ~ revetl.json_member_text('', rows.alias) ~ " end) as varchar(max)), '') within group (order by cast(" ~ rows.alias
        ~ '.[key] as int)) from openjson(' ~ value ~ ') as ' ~ rows.alias ~ "), '')") }}
{%- endmacro %}

{# A text as JSON has it, in quotes. #}
{% macro json_quoted(text) -%}
    {{ return(adapter.dispatch('json_quoted', 'revetl')(text)) }}
{%- endmacro %}

{% macro default__json_quoted(text) -%}
    {{ return('cast(to_json(cast(' ~ text ~ ' as ' ~ revetl.type_of('varchar') ~ ')) as ' ~ revetl.type_of('varchar') ~ ')') }}
{%- endmacro %}

{% macro snowflake__json_quoted(text) -%}
    {{ return('to_json(to_variant(' ~ text ~ '))') }}
{%- endmacro %}

{% macro bigquery__json_quoted(text) -%}
    {{ return('to_json_string(' ~ text ~ ')') }}
{%- endmacro %}

{% macro redshift__json_quoted(text) -%}
    {{ return('json_serialize(cast(' ~ text ~ ' as super))') }}
{%- endmacro %}

{% macro spark__json_quoted(text) -%}
    {{ return('to_json(cast(' ~ text ~ ' as variant))') }}
{%- endmacro %}

{% macro fabric__json_quoted(text) -%}
    {{ return("concat('\"', string_escape(" ~ text ~ ", 'json'), '\"')") }}
{%- endmacro %}
