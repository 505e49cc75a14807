{# Several members of a document, read at once where that is quicker: a column of `members_of`, whose texts `member_at`
   gives by their place from 0. #}
{% macro members_of(document, paths) -%}
    {{ return(adapter.dispatch('members_of', 'revetl')(document, paths)) }}
{%- endmacro %}

{% macro member_at(members, paths, place) -%}
    {{ return(adapter.dispatch('member_at', 'revetl')(members, paths, place)) }}
{%- endmacro %}

{% macro default__members_of(document, paths) -%}
    {{ document }}
{%- endmacro %}

{% macro default__member_at(members, paths, place) -%}
    {{ revetl.json_path_text(members, paths[place]) }}
{%- endmacro %}

{# As a list of texts, of a document that is parsed once. #}
{% macro duckdb__members_of(document, paths) -%}
    {% set places = [] -%}
    {% for path in paths -%}
        {% do places.append(revetl.text_literal('$."' ~ path.split('.') | join('"."') ~ '"')) -%}
    {% endfor -%}
    json_extract_string({{ document }}, [{{ places | join(', ') }}])
{%- endmacro %}

{% macro duckdb__member_at(members, paths, place) -%}
    {{ members }}[{{ place + 1 }}]
{%- endmacro %}

{# A member of a document that is an array, as JSON text; null where it is none. #}
{% macro json_array(document, path) -%}
    {{ return(adapter.dispatch('json_array', 'revetl')(document, path)) }}
{%- endmacro %}

{% macro default__json_array(document, path) -%}
    {% set member = revetl.postgres_json(document) ~ " #> '{" ~ path.split('.') | join(',') ~ "}'" -%}
    case when jsonb_typeof({{ member }}) = 'array' then cast({{ member }} as text) end
{%- endmacro %}

{% macro duckdb__json_array(document, path) -%}
    {% set place = revetl.text_literal('$."' ~ path.split('.') | join('"."') ~ '"') -%}
    case when json_type({{ document }}, {{ place }}) = 'ARRAY' then cast({{ document }} -> {{ place }} as varchar) end
{%- endmacro %}

{% macro snowflake__json_array(document, path) -%}
    {% set member = document ~ ':"' ~ path.split('.') | join('"."') ~ '"' -%}
    case when is_array({{ member }}) then to_json({{ member }}) end
{%- endmacro %}

{% macro bigquery__json_array(document, path) -%}
    {% set member = 'json_query(' ~ document ~ ", '$.\"" ~ path.split('.') | join('"."') ~ "\"')" -%}
    case when json_type({{ member }}) = 'array' then to_json_string({{ member }}) end
{%- endmacro %}

{% macro redshift__json_array(document, path) -%}
    {% set member = document ~ '."' ~ path.split('.') | join('"."') ~ '"' -%}
    case when is_array({{ member }}) then json_serialize({{ member }}) end
{%- endmacro %}

{# A text comes out of a document as an array does; only what is read as one is one. #}
{% macro spark__json_array(document, path) -%}
    {% set read = namespace(type='array<string>', member='') -%}
    {% for name in path.split('.') -%}
        {% set read.member = read.member ~ '.`' ~ name | replace('`', '``') ~ '`' -%}
    {% endfor -%}
    {% for name in path.split('.') | reverse -%}
        {% set read.type = 'struct<`' ~ name | replace('`', '``') ~ '`:' ~ read.type ~ '>' -%}
    {% endfor -%}
    case
        when from_json({{ document }}, {{ revetl.text_literal(read.type) }}){{ read.member }} is not null
            then get_json_object({{ document }}, {{ revetl.text_literal('$.' ~ path) }})
    end
{%- endmacro %}

{% macro fabric__json_array(document, path) -%}
    {% set member = 'json_query(' ~ document ~ ", '$.\"" ~ path.split('.') | join('"."') ~ "\"')" -%}
    case when {{ member }} like '![%' escape '!' then {{ member }} end
{%- endmacro %}
