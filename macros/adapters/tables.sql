{# SQL that makes a table of a query in the place of one that may be there. #}
{% macro create_or_replace_table(relation, query) -%}
    {{ return(adapter.dispatch('create_or_replace_table', 'revetl')(relation, query)) }}
{%- endmacro %}

{% macro default__create_or_replace_table(relation, query) -%}
    create or replace table {{ relation }} as {{ query }}
{%- endmacro %}

{# Of steps inside a query it knows no sizes, and takes them to be small; but whole tables without an index are
   never best joined row by row. #}
{% macro postgres__create_or_replace_table(relation, query) -%}
    drop table if exists {{ relation }};
    set local enable_nestloop to off;
    set local jit to off;
    create unlogged table {{ relation }} as {{ query }};
    set local enable_nestloop to default;
    set local jit to default;
    analyze {{ relation }}
{%- endmacro %}

{# Nothing of it is to be kept for days after it was dropped. #}
{% macro snowflake__create_or_replace_table(relation, query) -%}
    create or replace transient table {{ relation }} as {{ query }}
{%- endmacro %}

{% macro redshift__create_or_replace_table(relation, query) -%}
    drop table if exists {{ relation }}; create table {{ relation }} as {{ query }}
{%- endmacro %}

{% macro fabric__create_or_replace_table(relation, query) -%}
    drop table if exists {{ relation }}; create table {{ relation }} as {{ query }}
{%- endmacro %}

{# Make a table of a query in the place of one that may be there. #}
{% macro make_table(relation, query) -%}
    {{ return(adapter.dispatch('make_table', 'revetl')(relation, query)) }}
{%- endmacro %}

{% macro default__make_table(relation, query) -%}
    {% do run_query(revetl.create_or_replace_table(relation, query)) %}
{%- endmacro %}

{# A table of files is not replaced, and a statement is sent alone. #}
{% macro spark__make_table(relation, query) -%}
    {% do run_query('drop table if exists ' ~ relation) %}
    {% do run_query('create table ' ~ relation ~ ' as ' ~ query) %}
{%- endmacro %}

{% macro databricks__make_table(relation, query) -%}
    {{ return(revetl.default__make_table(relation, query)) }}
{%- endmacro %}

{# Run statements that belong together, and commit: in one transaction, where the engine has them. #}
{% macro run_together(statements) -%}
    {{ return(adapter.dispatch('run_together', 'revetl')(statements)) }}
{%- endmacro %}

{% macro default__run_together(statements) -%}
    {% for sql in statements %}
        {% call statement() -%}
            {{ sql }}
        {%- endcall %}
    {% endfor %}
    {% do adapter.commit() %}
{%- endmacro %}

{# One statement is a transaction. #}
{% macro duckdb__run_together(statements) -%}
    {% if statements | length == 1 %}
        {% do run_query(statements[0]) %}
    {% else %}
        {% do revetl.default__run_together(statements) %}
    {% endif %}
{%- endmacro %}

{# Sent as one: after the first commit of a connection, dbt begins no other transaction. #}
{% macro postgres__run_together(statements) -%}
    {% call statement() -%}
        {{ statements | join(';\n') }}
    {%- endcall %}
    {% do adapter.commit() %}
{%- endmacro %}

{# A model's statements, all or none of them where the engine has transactions, in as few round trips as it takes. The
   transaction is left open without `commit`. #}
{% macro at_once(statements, commit=true) -%}
    {{ return(adapter.dispatch('at_once', 'revetl')(statements, commit)) }}
{%- endmacro %}

{% macro default__at_once(statements, commit) -%}
    {% for sql in statements %}
        {% call statement('main' if loop.last else none) -%}
            {{ sql }}
        {%- endcall %}
    {% endfor %}
    {% if commit %}
        {% do adapter.commit() %}
    {% endif %}
{%- endmacro %}

{# One statement is a transaction: of its own, so nothing before it may have begun one (as `adapter.get_columns_in_relation`
   and any `statement` but a `run_query` do). #}
{% macro duckdb__at_once(statements, commit) -%}
    {% if commit and statements | length == 1 %}
        {% call statement('main', auto_begin=false) -%}
            {{ statements[0] }}
        {%- endcall %}
    {% else %}
        {% do revetl.default__at_once(statements, commit) %}
    {% endif %}
{%- endmacro %}

{# What is sent as one is a transaction, the end of the one that the driver may have begun included. #}
{% macro postgres__at_once(statements, commit) -%}
    {% if commit %}
        {% call statement('main', auto_begin=false) -%}
            {{ (statements + ['commit']) | join(';\n') }}
        {%- endcall %}
    {% else %}
        {% do revetl.default__at_once([statements | join(';\n')], false) %}
    {% endif %}
{%- endmacro %}

{% macro redshift__at_once(statements, commit) -%}
    {% do revetl.default__at_once(statements, commit) %}
{%- endmacro %}

{# Run statements one after the other, outside of a transaction of dbt's; where the engine takes several, as one. #}
{% macro run_in_turn(statements) -%}
    {{ return(adapter.dispatch('run_in_turn', 'revetl')(statements)) }}
{%- endmacro %}

{% macro default__run_in_turn(statements) -%}
    {% for sql in statements %}
        {% do run_query(sql) %}
    {% endfor %}
{%- endmacro %}

{% macro duckdb__run_in_turn(statements) -%}
    {% do run_query(statements | join(';\n')) %}
{%- endmacro %}

{% macro postgres__run_in_turn(statements) -%}
    {% do run_query(statements | join(';\n')) %}
{%- endmacro %}

{% macro redshift__run_in_turn(statements) -%}
    {{ return(revetl.default__run_in_turn(statements)) }}
{%- endmacro %}

{# SQL that makes a table where there is none. `layout` is how it is stored (`source_storage`). #}
{% macro create_table_if_missing(relation, columns, layout='') -%}
    {{ return(adapter.dispatch('create_table_if_missing', 'revetl')(relation, columns, layout)) }}
{%- endmacro %}

{% macro default__create_table_if_missing(relation, columns, layout) -%}
    create table if not exists {{ relation }} ({{ columns }}){{ layout }}
{%- endmacro %}

{% macro fabric__create_table_if_missing(relation, columns, layout) -%}
    if object_id('{{ relation }}') is null create table {{ relation }} ({{ columns }})
{%- endmacro %}

{% macro add_column(relation, column) -%}
    {{ return(adapter.dispatch('add_column', 'revetl')(relation, column)) }}
{%- endmacro %}

{% macro default__add_column(relation, column) -%}
    alter table {{ relation }} add column {{ column }}
{%- endmacro %}

{% macro fabric__add_column(relation, column) -%}
    alter table {{ relation }} add {{ column }}
{%- endmacro %}

{% macro delete_all(relation) -%}
    {{ return(adapter.dispatch('delete_all', 'revetl')(relation)) }}
{%- endmacro %}

{% macro default__delete_all(relation) -%}
    delete from {{ relation }}
{%- endmacro %}

{% macro spark__delete_all(relation) -%}
    {{ 'delete from ' if relation.is_delta or relation.is_iceberg else 'truncate table ' }}{{ relation }}
{%- endmacro %}

{% macro databricks__delete_all(relation) -%}
    delete from {{ relation }}
{%- endmacro %}

{# It wants a condition. #}
{% macro bigquery__delete_all(relation) -%}
    delete from {{ relation }} where true
{%- endmacro %}

{# Tell the planner what is in a table that was just made. #}
{% macro count_up(relation) -%}
    {{ return(adapter.dispatch('count_up', 'revetl')(relation)) }}
{%- endmacro %}

{% macro default__count_up(relation) -%}
{%- endmacro %}

{# It would find out after the build. #}
{% macro postgres__count_up(relation) -%}
    {% do run_query('analyze ' ~ relation) %}
{%- endmacro %}

{% macro redshift__count_up(relation) -%}
{%- endmacro %}

{# A query as it stands in another's `from`. #}
{% macro query_to_select_from(name, query) -%}
    {{ return(adapter.dispatch('query_to_select_from', 'revetl')(name, query)) }}
{%- endmacro %}

{% macro default__query_to_select_from(name, query) -%}
    {{ return('(' ~ query ~ ')') }}
{%- endmacro %}

{# None that begins with `with` may stand there, so it becomes a working table of that name. #}
{% macro fabric__query_to_select_from(name, query) -%}
    {% do revetl.working_table(name, query) -%}
    {{ return(revetl.working(name) | string) }}
{%- endmacro %}

{% macro done_selecting_from(name) -%}
    {{ return(adapter.dispatch('done_selecting_from', 'revetl')(name)) }}
{%- endmacro %}

{% macro default__done_selecting_from(name) -%}
{%- endmacro %}

{% macro fabric__done_selecting_from(name) -%}
    {% do revetl.drop_working_table(name) -%}
{%- endmacro %}
