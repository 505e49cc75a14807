{# Put the rows of a query in the place of the stale ones: those whose `keys` are the `names` of a row of the relation
   `rows` for which `condition` is true, all of them of the mapping `stale`. Without it, rows are only added. The
   transaction is left open without `commit`. #}
{% macro replace_rows(target, columns, query, stale=none, commit=true) -%}
    {{ return(adapter.dispatch('replace_rows', 'revetl')(target, columns, query, stale, commit)) }}
{%- endmacro %}

{% macro default__replace_rows(target, columns, query, stale, commit) -%}
    {% set statements = ['delete from ' ~ target ~ ' where ' ~ revetl.is_stale(target, stale)] if stale else [] %}
    {% do revetl.at_once(statements + ['insert into ' ~ target ~ ' (' ~ columns ~ ')\nselect ' ~ columns
        ~ ' from (' ~ query ~ '\n) as fresh'], commit) %}
{%- endmacro %}

{# In Delta's and Iceberg's tables rows are deleted: by a merge, as Delta's delete looks in no other table. Of other
   tables none is. #}
{% macro spark__replace_rows(target, columns, query, stale, commit) -%}
    {% set there = load_cached_relation(target) %}
    {% if stale and not (there.is_delta or there.is_iceberg) %}
        {% do revetl.spark_swap(target, columns, query, 'not ' ~ revetl.is_stale(target, stale)) %}
    {% else %}
        {% if stale %}
        {% call statement('delete') -%}
            merge into {{ target }}
            using (
                select distinct {{ stale.names | join(', ') }} from {{ stale.rows }} as stale
                where {{ stale.condition or 'true' }}
            ) as stale
            on {{ revetl.matches_stale(target, stale) }}
            when matched then delete
        {%- endcall %}
        {% endif %}
        {% do revetl.default__replace_rows(target, columns, query, none, false) %}
    {% endif %}
    {% if commit %}
        {% do adapter.commit() %}
    {% endif %}
{%- endmacro %}

{% macro fabric__replace_rows(target, columns, query, stale, commit) -%}
    {% do revetl.default__replace_rows(target, columns,
        'select * from ' ~ revetl.query_to_select_from('fresh', query) ~ ' as made', stale, commit) %}
    {% do revetl.done_selecting_from('fresh') %}
{%- endmacro %}

{% macro databricks__replace_rows(target, columns, query, stale, commit) -%}
    {{ return(revetl.default__replace_rows(target, columns, query, stale, commit)) }}
{%- endmacro %}

{% macro is_stale(target, stale) -%}
    exists (
            select 1 from {{ stale.rows }} as stale
            where {{ revetl.matches_stale(target, stale) }}
                {{ 'and ' ~ stale.condition if stale.condition }}
        )
{%- endmacro %}

{% macro matches_stale(target, stale) -%}
    {% for key in stale['keys'] -%}
    {{ target.identifier }}.{{ key }} = stale.{{ stale.names[loop.index0] }}{{ ' and ' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{# The same of rows that are written out, in the place of those of which `condition` is true: all or none of it, and of
   `more` statements. #}
{% macro replace_values(target, columns, rows, condition, more=[]) -%}
    {{ return(adapter.dispatch('replace_values', 'revetl')(target, columns, rows, condition, more)) }}
{%- endmacro %}

{% macro default__replace_values(target, columns, rows, condition, more) -%}
    {% do revetl.run_together([
        'delete from ' ~ target ~ ' where ' ~ condition,
        'insert into ' ~ target ~ ' (' ~ columns ~ ') values ' ~ rows | join(', '),
    ] + more) %}
{%- endmacro %}

{% macro spark__replace_values(target, columns, rows, condition, more) -%}
    {% set there = load_cached_relation(target) %}
    {% if there.is_delta or there.is_iceberg %}
        {% do revetl.default__replace_values(target, columns, rows, condition, more) %}
    {% else %}
        {% do revetl.spark_swap(target, columns, 'select * from (values ' ~ rows | join(', ') ~ ') as listed ('
            ~ columns ~ ')', 'not (' ~ condition ~ ')') %}
        {% do revetl.run_together(more) %}
    {% endif %}
{%- endmacro %}

{% macro databricks__replace_values(target, columns, rows, condition, more) -%}
    {{ return(revetl.default__replace_values(target, columns, rows, condition, more)) }}
{%- endmacro %}

{# Of files that only can be written anew: a table is made of the rows that stay and the fresh ones, and takes the old
   one's name once it is whole. Cut short before the old one is gone, nothing has changed; after that,
   `mend_tables` gives it the name. #}
{% macro spark_swap(target, columns, query, stays) -%}
    {% set patched = revetl.patched(target) %}
    {% do run_query('drop table if exists ' ~ patched) %}
    {% do run_query('create table ' ~ patched ~ ' like ' ~ target) %}
    {% call statement('main') -%}
        insert into {{ patched }} ({{ columns }})
        select {{ columns }} from {{ target }}
        where {{ stays }}
        union all
        select {{ columns }} from ({{ query }}
        ) as fresh
    {%- endcall %}
    {% do run_query('drop table ' ~ target) %}
    {% do run_query('alter table ' ~ patched ~ ' rename to ' ~ target) %}
{%- endmacro %}

{% macro patched(target) -%}
    {{ return(api.Relation.create(
        database=target.database, schema=target.schema, identifier=target.identifier ~ '__patched', type='table')) }}
{%- endmacro %}

{# Before a run: what one that was cut short has left. #}
{% macro mend_tables() -%}
    {{ return(adapter.dispatch('mend_tables', 'revetl')()) }}
{%- endmacro %}

{# On an engine with transactions, nothing. #}
{% macro default__mend_tables() -%}
{%- endmacro %}

{# Where an identity table is gone between the old and the new one, all are made anew. #}
{% macro spark__mend_tables() -%}
    {% set missing = [] %}
    {% for node in graph.nodes.values() if node.package_name == 'revetl' and node.resource_type == 'model'
        and 'identity_increment' in node.tags %}
        {% if not revetl.is_there(node, node.alias or node.name) %}
            {% do missing.append(node.name) %}
        {% endif %}
    {% endfor %}
    {% for table in graph.sources.values() | selectattr('unique_id', 'equalto', 'source.revetl.revetl_state.model_builds') %}
        {% do revetl.is_there(
            {'database': table.database, 'schema': revetl.schema_of('state') or table.schema}, table.identifier) %}
    {% endfor %}
    {% if missing %}
        {% do revetl.drop_settled() %}
    {% endif %}
{%- endmacro %}

{# Whether the table of a node is there: maybe only now, by the name it was to have. #}
{% macro is_there(node, name) -%}
    {% set table = api.Relation.create(database=node.database, schema=node.schema, identifier=name, type='table') %}
    {% if load_cached_relation(table) is not none %}
        {{ return(true) }}
    {% endif %}
    {% set patched = load_cached_relation(revetl.patched(table)) %}
    {% if patched is none %}
        {{ return(false) }}
    {% endif %}
    {% do adapter.rename_relation(patched, table) %}
    {{ return(true) }}
{%- endmacro %}
