{# A text as an exact number; null where it is none, or too large. #}
{% macro decimal_of(text) -%}
    {{ return(adapter.dispatch('decimal_of', 'revetl')(text)) }}
{%- endmacro %}

{% macro default__decimal_of(text) -%}
    try_cast({{ text }} as decimal(18, 4))
{%- endmacro %}

{# Of a text only what is a number is cast; the first 10,000 characters will do, and a numeric holds them. What is
   too large for the result becomes the first number that is, and then null: so the text is read once. #}
{% macro postgres__decimal_of(text) -%}
    {% set blank = '[ \\t\\n\\v\\f\\r]*' -%}
    {% set digits = '[0-9]+(?:_[0-9]+)*' -%}
    {% set number = '[+-]?(?:' ~ digits ~ '\\.?(?:' ~ digits ~ ')?|\\.' ~ digits ~ ')(?:[eE][+-]?0*[0-9]{1,3})?' -%}
    cast(nullif(nullif(round(least(greatest(
        cast(replace(substring(left({{ text }}, 10000) from '^{{ blank }}({{ number }}){{ blank }}$'), '_', '') as numeric),
        -100000000000000), 100000000000000), 4), -100000000000000), 100000000000000) as decimal(18, 4))
{%- endmacro %}

{% macro snowflake__decimal_of(text) -%}
    try_to_decimal({{ text }}, 18, 4)
{%- endmacro %}

{% macro bigquery__decimal_of(text) -%}
    safe_cast({{ text }} as numeric(18, 4))
{%- endmacro %}

{# Where it knows PostgreSQL's macros, these do not go there. #}
{% macro redshift__decimal_of(text) -%}
    try_cast({{ text }} as decimal(18, 4))
{%- endmacro %}

{# As in DuckDB, digits may have a `_` between them, and are none in other alphabets. #}
{% macro spark__decimal_of(text) -%}
    try_cast(
        regexp_replace(regexp_replace({{ text }}, '(?<=[0-9])_(?=[0-9])', ''), '[^\\p{ASCII}]', 'x') as decimal(18, 4)
    )
{%- endmacro %}
