{# What dbt's own table materialization does, for the materializations here. #}
{% macro build_table_anew(sql) %}
    {{ return(adapter.dispatch('build_table_anew', 'revetl')(sql)) }}
{% endmacro %}

{# The package's tables and views, with as few statements as the engine needs; elsewhere the adapter's own are good. #}
{% macro table_kind() %}
    {{ return('revetl_table' if target.type in ['duckdb', 'postgres'] else 'table') }}
{% endmacro %}

{% macro view_kind() %}
    {{ return('revetl_view' if target.type in ['duckdb', 'postgres'] else 'view') }}
{% endmacro %}

{% materialization revetl_table, default %}
    {{ return(revetl.build_table_anew(sql)) }}
{% endmaterialization %}

{% materialization revetl_view, default %}
    {%- set view = this.incorporate(type='view') -%}
    {%- set existing_relation = load_cached_relation(this) -%}
    {% if not revetl.is_plain() %}
        {{ run_hooks(pre_hooks, inside_transaction=False) }}
        {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {% endif %}
    {% do revetl.at_once(revetl.view_statements(view, existing_relation, sql), commit=revetl.is_plain()) %}
    {% do revetl.finish_relation(view, existing_relation) %}
    {{ return({'relations': [view]}) }}
{% endmaterialization %}

{# Whether nothing is to run around the statements that make the relation, so that they can be sent as one. #}
{% macro is_plain() %}
    {{ return(
        not (pre_hooks or post_hooks) and not config.get('grants')
        and not (config.get('persist_docs') or {}).values() | select | list
        and not config.get('contract').enforced and not config.get('sql_header')
        and not revetl.adapter_configs(['partitioned_by', 'partition_by', 'sorted_by', 'sort_by'])) }}
{% endmacro %}

{# Those of some configurations of an adapter that are set: name to value. #}
{% macro adapter_configs(names) %}
    {% set found = {} %}
    {% for name in names if config.get(name) %}
        {% do found.update({name: config.get(name)}) %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}

{# After the statements of a relation that is not plain: what dbt does of hooks, grants and descriptions. #}
{% macro finish_relation(relation, existing_relation) %}
    {% if not revetl.is_plain() %}
        {{ run_hooks(post_hooks, inside_transaction=True) }}
        {% set should_revoke = should_revoke(existing_relation, full_refresh_mode=True) %}
        {% do apply_grants(relation, config.get('grants'), should_revoke=should_revoke) %}
        {% do persist_docs(relation, model) %}
        {{ adapter.commit() }}
        {{ run_hooks(post_hooks, inside_transaction=False) }}
    {% endif %}
{% endmacro %}

{# The statements that put a view in the place of what is there. #}
{% macro view_statements(view, existing_relation, sql) %}
    {{ return(adapter.dispatch('view_statements', 'revetl')(view, existing_relation, sql)) }}
{% endmacro %}

{% macro default__view_statements(view, existing_relation, sql) %}
    {% set drop = ['drop ' ~ existing_relation.type ~ ' if exists ' ~ existing_relation]
        if existing_relation is not none and existing_relation.type != 'view' else [] %}
    {{ return(drop + ['create or replace view ' ~ view ~ ' as (\n' ~ sql ~ '\n)']) }}
{% endmacro %}

{# One of other columns is not replaced. #}
{% macro postgres__view_statements(view, existing_relation, sql) %}
    {% set drop = ['drop ' ~ existing_relation.type | replace('_', ' ') ~ ' if exists ' ~ existing_relation ~ ' cascade']
        if existing_relation is not none else [] %}
    {{ return(drop + ['create view ' ~ view ~ ' as (\n' ~ sql ~ '\n)']) }}
{% endmacro %}

{# An engine that replaces a table by one statement needs no other name for it meanwhile. #}
{% macro duckdb__build_table_anew(sql) %}
    {%- set table = this.incorporate(type='table') -%}
    {%- set existing_relation = load_cached_relation(this) -%}
    {% if not revetl.is_plain() %}
        {{ return(revetl.default__build_table_anew(sql)) }}
    {% endif %}
    {% set drop = ['drop view if exists ' ~ existing_relation]
        if existing_relation is not none and existing_relation.type == 'view' else [] %}
    {% do revetl.at_once(drop + ['create or replace table ' ~ table ~ ' as (\n' ~ sql ~ '\n)']) %}
    {{ return({'relations': [table]}) }}
{% endmacro %}

{# Made beside the old one, whose place it takes in the same transaction. #}
{% macro postgres__build_table_anew(sql) %}
    {%- set table = this.incorporate(type='table') -%}
    {%- set existing_relation = load_cached_relation(this) -%}
    {% if not revetl.is_plain() %}
        {{ return(revetl.default__build_table_anew(sql)) }}
    {% endif %}
    {% set made = make_intermediate_relation(table) %}
    {% set statements = [
        'drop table if exists ' ~ made ~ ' cascade',
        'create ' ~ ('unlogged ' if revetl.adapter_configs(['unlogged'])) ~ 'table ' ~ made ~ ' as (\n' ~ sql ~ '\n)',
    ] %}
    {% if existing_relation is not none %}
        {% do statements.append('drop ' ~ existing_relation.type | replace('_', ' ') ~ ' if exists ' ~ existing_relation ~ ' cascade') %}
    {% endif %}
    {% do statements.append('alter table ' ~ made ~ ' rename to ' ~ adapter.quote(table.identifier)) %}
    {% for index in config.get('indexes', []) %}
        {% do statements.append(get_create_index_sql(table, index)) %}
    {% endfor %}
    {% do revetl.at_once(statements + ['analyze ' ~ table]) %}
    {{ return({'relations': [table]}) }}
{% endmacro %}

{% macro redshift__build_table_anew(sql) %}
    {{ return(revetl.default__build_table_anew(sql)) }}
{% endmacro %}

{# Made beside the old one, which gives way to it by its name. #}
{% macro default__build_table_anew(sql) %}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set existing_relation = load_cached_relation(this) -%}
    {%- set intermediate_relation = make_intermediate_relation(target_relation) -%}
    {%- set backup_relation_type = 'table' if existing_relation is none else existing_relation.type -%}
    {%- set backup_relation = make_backup_relation(target_relation, backup_relation_type) -%}
    {% set grant_config = config.get('grants') %}

    {{ drop_relation_if_exists(load_cached_relation(intermediate_relation)) }}
    {{ drop_relation_if_exists(load_cached_relation(backup_relation)) }}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {% call statement('main') -%}
        {{ get_create_table_as_sql(False, intermediate_relation, sql) }}
    {%- endcall %}
    {% if existing_relation is not none %}
        {{ adapter.rename_relation(existing_relation, backup_relation) }}
    {% endif %}
    {{ adapter.rename_relation(intermediate_relation, target_relation) }}
    {% do create_indexes(target_relation) %}
    {% do revetl.count_up(target_relation) %}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% set should_revoke = should_revoke(existing_relation, full_refresh_mode=True) %}
    {% do apply_grants(target_relation, grant_config, should_revoke=should_revoke) %}
    {% do persist_docs(target_relation, model) %}
    {{ adapter.commit() }}
    {{ drop_relation_if_exists(backup_relation) }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target_relation]}) }}
{% endmacro %}

{# As above; but files have one place where they were given one, and Delta's and Iceberg's tables are replaced. #}
{% macro spark__build_table_anew(sql) %}
    {%- set existing_relation = load_cached_relation(this) -%}
    {% set format = config.get('file_format') %}
    {% if format not in ['delta', 'iceberg'] and not config.get('location_root') %}
        {{ return(revetl.default__build_table_anew(sql)) }}
    {% endif %}
    {% if existing_relation is not none and not (existing_relation.is_delta and format == 'delta')
        and not (existing_relation.is_iceberg and format == 'iceberg') %}
        {% do adapter.drop_relation(existing_relation) %}
    {% endif %}
    {{ return(revetl.build_table_in_place(sql)) }}
{% endmacro %}

{% macro snowflake__build_table_anew(sql) %}
    {% set query_tag = set_query_tag() %}
    {% set built = revetl.build_table_in_place(sql) %}
    {% do unset_query_tag(query_tag) %}
    {{ return(built) }}
{% endmacro %}

{# A table of other partitions is not replaced but dropped. #}
{% macro bigquery__build_table_anew(sql) %}
    {%- set existing_relation = load_cached_relation(this) -%}
    {% set partition_by = adapter.parse_partition_by(config.get('partition_by')) %}
    {% if existing_relation is not none and existing_relation.type == 'table'
        and not adapter.is_replaceable(existing_relation, partition_by, config.get('cluster_by')) %}
        {% do adapter.drop_relation(existing_relation) %}
    {% endif %}
    {{ return(revetl.build_table_in_place(sql)) }}
{% endmacro %}

{# Where a table is replaced by one statement, and readers see the one or the other. #}
{% macro build_table_in_place(sql) %}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set existing_relation = load_cached_relation(this) -%}
    {{ run_hooks(pre_hooks) }}
    {% if existing_relation is not none and existing_relation.type != 'table' %}
        {% do adapter.drop_relation(existing_relation) %}
    {% endif %}
    {% call statement('main') -%}
        {{ get_create_table_as_sql(False, target_relation, sql) }}
    {%- endcall %}
    {{ run_hooks(post_hooks) }}
    {% set should_revoke = should_revoke(existing_relation, full_refresh_mode=True) %}
    {% do apply_grants(target_relation, config.get('grants'), should_revoke=should_revoke) %}
    {% do persist_docs(target_relation, model) %}
    {{ return({'relations': [target_relation]}) }}
{% endmacro %}

{# Only a Delta table is replaced; one of another format is dropped. #}
{% macro databricks__build_table_anew(sql) %}
    {%- set existing_relation = load_cached_relation(this) -%}
    {% if existing_relation is not none and config.get('file_format', 'delta') != 'delta' %}
        {% do adapter.drop_relation(existing_relation) %}
    {% endif %}
    {{ return(revetl.build_table_in_place(sql)) }}
{% endmacro %}
