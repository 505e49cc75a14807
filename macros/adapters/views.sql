{# A table as a view reads it, so that the view shows what is in it whenever it is asked. #}
{% macro live(relation) -%}
    {{ return(adapter.dispatch('live', 'revetl')(relation)) }}
{%- endmacro %}

{% macro default__live(relation) -%}
    {{ relation }}
{%- endmacro %}

{# DuckDB drops the database's name from a view's text, and then does not know whether `revetl.sync_runs` names a
   schema or a database where there are both; the text of a function it leaves alone. #}
{% macro duckdb__live(relation) -%}
    query_table('{{ relation | string | replace("'", "''") }}')
{%- endmacro %}

{# After a CTE's `as`: it is read several times, and each may want only some of its rows. #}
{% macro read_in_part() -%}
    {{ return(adapter.dispatch('read_in_part', 'revetl')()) }}
{%- endmacro %}

{% macro default__read_in_part() -%}
    {{ return('') }}
{%- endmacro %}

{# It would be made whole, wide rows of all messages. #}
{% macro duckdb__read_in_part() -%}
    {{ return(' not materialized') }}
{%- endmacro %}

{# It would be made whole before any is read; to make everything that is right, and a small build would wait for it. #}
{% macro postgres__read_in_part() -%}
    {{ return(' not materialized' if revetl.identity_increment() else '') }}
{%- endmacro %}

{% macro redshift__read_in_part() -%}
    {{ return('') }}
{%- endmacro %}
