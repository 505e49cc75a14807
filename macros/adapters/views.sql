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
