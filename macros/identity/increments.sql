{# How the identity models are built piece by piece.

   `int_revetl__identity_changes` gathers what the messages show now and did not at the last build, and the other way
   round, until every model that is built of them has been built after it: then they are settled (the end of
   the dbt run), and the changes are emptied. A build that failed half-way is so made good by the next. The
   first build, a build with --full-refresh, and a build by other rules make everything anew. #}

{# Whether this build changes the identity tables instead of making them anew. #}
{% macro identity_increment() %}
    {% if not execute or flags.FULL_REFRESH or flags.WHICH not in ['build', 'run']
        or model.resource_type == 'unit_test' %}
        {{ return(false) }}
    {% endif %}
    {{ return(revetl.is_settled(revetl.relation_there('int_revetl__identity_rules', suffix='__settled'))) }}
{% endmacro %}

{# Whether all identity tables were built, by the rules that are in force. #}
{% macro is_settled(settled) %}
    {% if settled is none %}
        {{ return(false) }}
    {% endif %}
    {% set rows = run_query('select rules from ' ~ settled).rows %}
    {{ return(rows | length > 0 and rows[0][0] == revetl.identity_rules_hash()) }}
{% endmacro %}

{# Before a run that makes identity tables anew: stopped half-way, some are of one build and some of another, and
   only one that makes all of them anew puts that right. #}
{% macro unsettle_identity() %}
    {% if not execute or flags.WHICH not in ['build', 'run'] %}
        {{ return('') }}
    {% endif %}
    {% set settled = revetl.relation_there('int_revetl__identity_rules', suffix='__settled') %}
    {% if settled is none or (not flags.FULL_REFRESH and revetl.is_settled(settled)) %}
        {{ return('') }}
    {% endif %}
    {% set anew = [] %}
    {% for unique_id in selected_resources if unique_id.startswith('model.revetl.')
        and 'identity_increment' in graph.nodes[unique_id].tags %}
        {% do anew.append(unique_id) %}
    {% endfor %}
    {% if anew %}
        {% do revetl.run_together(['drop table if exists ' ~ settled]) %}
        {% do adapter.cache_dropped(settled) %}
    {% endif %}
{% endmacro %}

{# Whether this build patches the model's own table, which was `made_by` the same. #}
{% macro is_patch(made_by=none) %}
    {% if not revetl.identity_increment() %}
        {{ return(false) }}
    {% endif %}
    {% set there = load_cached_relation(this) %}
    {% if there is none or there.type != 'table' %}
        {{ return(false) }}
    {% endif %}
    {% if made_by is none %}
        {{ return(true) }}
    {% endif %}
    {% if not revetl.has_column(there, 'made_by') %}
        {{ return(false) }}
    {% endif %}
    {# What was made as of a later moment is not known as of an earlier one. #}
    {% set later = 'max(as_of) > ' ~ revetl.as_of() if revetl.has_column(there, 'as_of') else revetl.never() %}
    {% set rows = run_query('select min(made_by), max(made_by), case when ' ~ later ~ ' then 1 else 0 end from ' ~ there).rows %}
    {{ return(rows[0][0] == made_by and rows[0][1] == made_by and rows[0][2] == 0) }}
{% endmacro %}

{# The days whose messages are not those that the sightings were made of; none for any day (what is blocked has
   changed, or so many days that naming them is no help). #}
{% macro changed_days(days) %}
    {% set sighted = revetl.relation_there('int_revetl__identity_sighted_days') %}
    {% if sighted is none %}
        {{ return(none) }}
    {% endif %}
    {% set rows = run_query(
        'select distinct cast(day as ' ~ revetl.type_of('varchar') ~ ') as day from ('
        ~ 'select coalesce(n.day, t.day) as day from ' ~ days ~ ' as n full outer join ' ~ sighted ~ ' as t '
        ~ "on coalesce(n.day, cast('0001-01-01' as date)) = coalesce(t.day, cast('0001-01-01' as date)) "
        ~ 'where n.message_count is null or t.message_count is null or n.message_count <> t.message_count '
        ~ 'or coalesce(n.hash_sum, 0) <> coalesce(t.hash_sum, 0)) as changed').rows %}
    {% set changed = rows | map(attribute=0) | list %}
    {{ return(none if none in changed or changed | length > 100 else changed) }}
{% endmacro %}

{# A select of the rows of some days (of all, where `days` is none). Aliases are few, and what one means may change
   on another day: a part of its own, so that the rest is found by time alone. #}
{% macro rows_of_days(relation, days) -%}
    select * from {{ relation }}
    {%- if days is not none %}
    where source in ('alias', 'cut')
    {%- if days %}
    union all
    select * from {{ relation }}
    where
        source not in ('alias', 'cut')
        and (
            {%- for day in days %}
            {%- set start = "cast('" ~ day ~ "' as " ~ revetl.type_of('timestamp') ~ ")" %}
            {{ 'or ' if not loop.first }}(timestamp >= {{ start }} and timestamp < {{ revetl.days_after(start, 1) }})
            {%- endfor %}
        )
    {%- endif %}
    {%- endif %}
{%- endmacro %}

{# Tells one set of rules from another, and one version of what is made of them from another. #}
{% macro identity_rules_hash() %}
    {{ return(local_md5('2 ' ~ tojson(var('identity', none), sort_keys=true))) }}
{% endmacro %}

{# The relation of one of this package's models, or of a table beside it, where it is there; for models that
   look at what the last build left, which no ref() may. #}
{% macro relation_there(name, suffix='') %}
    {% set node = graph.nodes.get('model.revetl.' ~ name) %}
    {# A project with profiles of its own may do without identity. #}
    {% if not node %}
        {{ return(none) }}
    {% endif %}
    {{ return(adapter.get_relation(
        database=node.database, schema=node.schema, identifier=(node.alias or node.name) ~ suffix)) }}
{% endmacro %}

{# At the end of a run: when all identity tables were built, what they were built of is done with. #}
{% macro settle_identity(results) %}
    {% if not execute or flags.WHICH not in ['build', 'run'] %}
        {{ return('') }}
    {% endif %}
    {% set waiting = [] %}
    {% for node in graph.nodes.values() if node.package_name == 'revetl' and node.resource_type == 'model' %}
        {# Traits that were never built miss no changes: their first build makes all of them. #}
        {% if 'identity_increment' in node.tags
            or ('trait_increment' in node.tags and revetl.relation_there(node.name) is not none) %}
            {% do waiting.append(node.unique_id) %}
        {% endif %}
    {% endfor %}
    {% for result in results if result.status == 'success' and result.node.unique_id in waiting %}
        {% do waiting.remove(result.node.unique_id) %}
    {% endfor %}
    {% set rules = graph.nodes.get('model.revetl.int_revetl__identity_rules') %}
    {% if rules and not waiting %}
        {% set settled = api.Relation.create(
            database=rules.database, schema=rules.schema, identifier=(rules.alias or rules.name) ~ '__settled') %}
        {% do revetl.run_together([
            'drop table if exists ' ~ settled,
            revetl.delete_all(revetl.relation_there('int_revetl__identity_changes')),
            "create table " ~ settled ~ " as select '" ~ revetl.identity_rules_hash()
                ~ "' as rules, " ~ revetl.utc_now() ~ " as settled_at",
        ]) %}
    {% endif %}
{% endmacro %}

{# A table of which a build replaces only the rows that may have changed. The model's SQL gives those rows (all
   rows where `identity_increment()` is false); in `meta`, `key` names the columns by which the rows they replace
   are known, `stale` the model that has the keys (under `stale_key`, where its columns have other names), all
   of them or those of which `stale_if` is true; with `stale_batch`, those that this dbt invocation found. Without
   `stale`, rows are only added. `made_by` names what the rows are made by, which is in their column of that name: rows
   that were made by something else are all made anew. #}
{% materialization patched, default %}
    {%- set existing_relation = load_cached_relation(this) -%}
    {% if not revetl.is_patch(config.get('meta', {}).get('made_by')) %}
        {% do return(revetl.build_table_anew(sql)) %}
    {% endif %}
    {% set grant_config = config.get('grants') %}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {% do revetl.replace_stale_rows(this, sql) %}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do apply_grants(this, grant_config, should_revoke=should_revoke(existing_relation, full_refresh_mode=False)) %}
    {{ adapter.commit() }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [this]}) }}
{% endmaterialization %}

{# Put the rows of a query in the place of the stale rows, in one transaction where the engine has them. Cut
   short between the two statements, the next build does it again: its changes are not settled. #}
{% macro replace_stale_rows(target, sql) %}
    {% set columns = adapter.get_columns_in_relation(target) | map(attribute='quoted') | join(', ') %}
    {% set meta = config.get('meta', {}) %}
    {% set stale = none %}
    {% if meta.stale %}
        {% set names = meta.get('stale_key', meta.key) %}
        {% set conditions = [meta.stale_if] if meta.stale_if else [] %}
        {% if meta.stale_batch %}
            {% do conditions.append("stale.batch = '" ~ invocation_id ~ "'") %}
        {% endif %}
        {% set stale = {
            'rows': revetl.relation_there(meta.stale),
            'keys': meta.key if meta.key is not string else [meta.key],
            'names': names if names is not string else [names],
            'condition': conditions | join(' and '),
        } %}
    {% endif %}
    {% do revetl.replace_rows(target, columns, sql, stale) %}
{% endmacro %}
