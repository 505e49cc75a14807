{# What dbt's own table materialization does, for the materializations here. #}
{% macro build_table_anew(sql) %}
    {{ return(adapter.dispatch('build_table_anew', 'revetl')(sql)) }}
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
