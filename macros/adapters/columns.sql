{# A column by its name in YAML, quoted. #}
{% macro quoted(name) -%}
    {{ return(adapter.dispatch('quoted', 'revetl')(name)) }}
{%- endmacro %}

{% macro default__quoted(name) -%}
    {{ return(adapter.quote(name)) }}
{%- endmacro %}

{# Names without quotes are upper case, and models write none. #}
{% macro snowflake__quoted(name) -%}
    {{ return(adapter.quote(name | upper)) }}
{%- endmacro %}

{# The name of a column of a relation, as YAML would have it. #}
{% macro name_in_yaml(column) -%}
    {{ return(adapter.dispatch('name_in_yaml', 'revetl')(column)) }}
{%- endmacro %}

{% macro default__name_in_yaml(column) -%}
    {{ return(column.name) }}
{%- endmacro %}

{% macro snowflake__name_in_yaml(column) -%}
    {{ return(column.name | lower if column.name == column.name | upper else column.name) }}
{%- endmacro %}

{# The columns of a relation as a list for SQL, quoted. #}
{% macro listed_columns(relation) -%}
    {{ return(adapter.dispatch('listed_columns', 'revetl')(relation)) }}
{%- endmacro %}

{% macro default__listed_columns(relation) -%}
    {{ return(adapter.get_columns_in_relation(relation) | map(attribute='quoted') | join(', ')) }}
{%- endmacro %}

{# What the adapter asks would begin a transaction, which `at_once` does not know of. #}
{% macro duckdb__listed_columns(relation) -%}
    {% set names = [] -%}
    {% for name in run_query('select * from ' ~ relation ~ ' where ' ~ revetl.never()).column_names -%}
        {% do names.append(adapter.quote(name)) -%}
    {% endfor -%}
    {{ return(names | join(', ')) }}
{%- endmacro %}

{% macro postgres__listed_columns(relation) -%}
    {{ return(revetl.duckdb__listed_columns(relation)) }}
{%- endmacro %}

{% macro redshift__listed_columns(relation) -%}
    {{ return(revetl.default__listed_columns(relation)) }}
{%- endmacro %}
