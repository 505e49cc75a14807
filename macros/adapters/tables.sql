{# SQL that makes a table of a query in the place of one that may be there. #}
{% macro create_or_replace_table(relation, query) -%}
    {{ return(adapter.dispatch('create_or_replace_table', 'revetl')(relation, query)) }}
{%- endmacro %}

{% macro default__create_or_replace_table(relation, query) -%}
    create or replace table {{ relation }} as {{ query }}
{%- endmacro %}

{% macro postgres__create_or_replace_table(relation, query) -%}
    drop table if exists {{ relation }}; create table {{ relation }} as {{ query }}
{%- endmacro %}
