{# The engine's type for one of the portable names: varchar, json, timestamp, bigint. #}
{% macro type_of(name) -%}
    {{ return(adapter.dispatch('type_of', 'revetl')(name)) }}
{%- endmacro %}

{% macro default__type_of(name) -%}
    {{ return(name) }}
{%- endmacro %}

{# The same with how a column of it is best stored, for `create table`. #}
{% macro stored_type_of(name) -%}
    {{ return(adapter.dispatch('stored_type_of', 'revetl')(name)) }}
{%- endmacro %}

{% macro default__stored_type_of(name) -%}
    {{ return(revetl.type_of(name)) }}
{%- endmacro %}

{# Documents are most of what is landed; compressed they are a tenth, and quicker to write. #}
{% macro duckdb__stored_type_of(name) -%}
    {{ return(name ~ (' using compression zstd' if name == 'json' else '')) }}
{%- endmacro %}
