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

{# Make tables, each of a query (pairs of relation and query), in the place of those that may be there; then run `more`
   statements. Gives the rows of the last of them. #}
{% macro make_tables(tables, more=[]) -%}
    {{ return(adapter.dispatch('make_tables', 'revetl')(tables, more)) }}
{%- endmacro %}

{% macro default__make_tables(tables, more) -%}
    {% set statements = [] %}
    {% for relation, query in tables %}
        {% do statements.append(revetl.create_or_replace_table(relation, query)) %}
    {% endfor %}
    {{ return(revetl.run_in_turn(statements + more)) }}
{%- endmacro %}

{# A table of files is not replaced. #}
{% macro spark__make_tables(tables, more) -%}
    {% set statements = [] %}
    {% for relation, query in tables %}
        {% do statements.append('drop table if exists ' ~ relation) %}
        {% do statements.append('create table ' ~ relation ~ ' as ' ~ query) %}
    {% endfor %}
    {{ return(revetl.run_in_turn(statements + more)) }}
{%- endmacro %}

{% macro databricks__make_tables(tables, more) -%}
    {{ return(revetl.default__make_tables(tables, more)) }}
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

{# One statement is a transaction; several are sent as one. #}
{% macro duckdb__run_together(statements) -%}
    {% if statements | length == 1 %}
        {% do run_query(statements[0]) %}
    {% else %}
        {% do revetl.default__run_together([statements | join(';\n')]) %}
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
    {% if commit %}
        {% call statement('main', auto_begin=false) -%}
            {{ statements[0] if statements | length == 1 else
                (['begin transaction'] + statements + ['commit']) | join(';\n') }}
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

{# Run statements one after the other, outside of a transaction of dbt's; where the engine takes several, as one. Gives
   the rows of the last. #}
{% macro run_in_turn(statements) -%}
    {{ return(adapter.dispatch('run_in_turn', 'revetl')(statements)) }}
{%- endmacro %}

{% macro default__run_in_turn(statements) -%}
    {% set found = namespace(last=none) %}
    {% for sql in statements %}
        {% set found.last = run_query(sql) %}
    {% endfor %}
    {{ return(found.last.rows) }}
{%- endmacro %}

{% macro duckdb__run_in_turn(statements) -%}
    {{ return(run_query(statements | join(';\n')).rows) }}
{%- endmacro %}

{% macro postgres__run_in_turn(statements) -%}
    {{ return(run_query(statements | join(';\n')).rows) }}
{%- endmacro %}

{% macro redshift__run_in_turn(statements) -%}
    {{ return(revetl.default__run_in_turn(statements)) }}
{%- endmacro %}

{# Whether `run_in_turn` sends its statements as one. #}
{% macro takes_several_statements() -%}
    {{ return(target.type in ['duckdb', 'postgres']) }}
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
