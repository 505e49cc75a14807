{# 32 hex digits of a text: the id of an identifier. Equal on every engine. #}
{% macro hash_text(text) -%}
    {{ return(adapter.dispatch('hash_text', 'revetl')(text)) }}
{%- endmacro %}

{% macro default__hash_text(text) -%}
    md5({{ text }})
{%- endmacro %}

{# The same as a whole number, in the order of the texts: its first 63 bits. #}
{% macro hash_bits(text) -%}
    {{ return(adapter.dispatch('hash_bits', 'revetl')(text)) }}
{%- endmacro %}

{% macro default__hash_bits(text) -%}
    cast(cast(('x' || substr(md5({{ text }}), 1, 16)) as bit(64)) >> 1 as bigint)
{%- endmacro %}

{% macro duckdb__hash_bits(text) -%}
    cast(cast('0x' || left(md5({{ text }}), 16) as ubigint) >> 1 as bigint)
{%- endmacro %}

{# A 63-bit whole number of a text, by whatever the engine does fastest, and so not the same everywhere. #}
{% macro hash_number(text) -%}
    {{ return(adapter.dispatch('hash_number', 'revetl')(text)) }}
{%- endmacro %}

{% macro default__hash_number(text) -%}
    cast(('x' || substr(md5({{ text }}), 1, 15))::bit(60) as bigint)
{%- endmacro %}

{% macro duckdb__hash_number(text) -%}
    cast(hash({{ text }}) >> 1 as bigint)
{%- endmacro %}

{# The same of several columns; null in one of them is no null of the whole. #}
{% macro hash_columns(columns) -%}
    {{ return(adapter.dispatch('hash_columns', 'revetl')(columns)) }}
{%- endmacro %}

{% macro default__hash_columns(columns) -%}
    {% set parts = [] -%}
    {% for column in columns -%}
        {% do parts.append("coalesce(cast(" ~ column ~ " as " ~ revetl.type_of('varchar') ~ "), '')") -%}
    {% endfor -%}
    {{ revetl.hash_number(parts | join(" || '|' || ")) }}
{%- endmacro %}

{% macro duckdb__hash_columns(columns) -%}
    cast(hash({{ columns | join(', ') }}) >> 1 as bigint)
{%- endmacro %}
