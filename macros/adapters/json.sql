{# A member of a JSON object as text; null where it is absent or JSON's null. #}
{% macro json_text(document, name) -%}
    {{ return(adapter.dispatch('json_text', 'revetl')(document, name)) }}
{%- endmacro %}

{% macro default__json_text(document, name) -%}
    ({{ document }} ->> '{{ name }}')
{%- endmacro %}

{% macro duckdb__json_text(document, name) -%}
    ({{ document }} ->> '$."{{ name }}"')
{%- endmacro %}

{# The same as an exact number; null where it is none. #}
{% macro json_decimal(document, name) -%}
    {{ return(adapter.dispatch('json_decimal', 'revetl')(document, name)) }}
{%- endmacro %}

{% macro default__json_decimal(document, name) -%}
    cast({{ revetl.json_text(document, name) }} as decimal(18, 4))
{%- endmacro %}

{% macro duckdb__json_decimal(document, name) -%}
    try_cast({{ revetl.json_text(document, name) }} as decimal(18, 4))
{%- endmacro %}

{# Text as JSON. #}
{% macro as_json(text) -%}
    {{ return(adapter.dispatch('as_json', 'revetl')(text)) }}
{%- endmacro %}

{% macro default__as_json(text) -%}
    cast({{ text }} as {{ revetl.type_of('json') }})
{%- endmacro %}

{# A join to the elements of a JSON array, one row an element, as JSON in the column `element`. #}
{% macro join_json_elements(document, name, alias) -%}
    {{ return(adapter.dispatch('join_json_elements', 'revetl')(document, name, alias)) }}
{%- endmacro %}

{% macro default__join_json_elements(document, name, alias) -%}
    cross join lateral jsonb_array_elements({{ document }} -> '{{ name }}') as {{ alias }} (element)
{%- endmacro %}

{% macro duckdb__join_json_elements(document, name, alias) -%}
    cross join unnest(cast({{ document }} -> '$."{{ name }}"' as json [])) as {{ alias }} (element)
{%- endmacro %}

{# A member somewhere inside a JSON object as text, by its path: `device.advertisingId`. #}
{% macro json_path_text(document, path) -%}
    {{ return(adapter.dispatch('json_path_text', 'revetl')(document, path)) }}
{%- endmacro %}

{% macro default__json_path_text(document, path) -%}
    ({{ document }} #>> '{{ '{' ~ path.split('.') | join(',') ~ '}' }}')
{%- endmacro %}

{% macro duckdb__json_path_text(document, path) -%}
    ({{ document }} ->> '$."{{ path.split('.') | join('"."') }}"')
{%- endmacro %}
