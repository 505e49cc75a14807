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
    {{ return(revetl.is_settled()) }}
{% endmacro %}

{# The table that says that all identity tables were built, by the rules in `…__settled`. Their hash is in its name as
   well, so that every model can tell from dbt's cache of relations, without a statement. #}
{% macro settled_table(rules_hash=none) %}
    {% set rules = graph.nodes['model.revetl.int_revetl__identity_rules'] %}
    {{ return(api.Relation.create(
        database=rules.database, schema=rules.schema, type='table',
        identifier=(rules.alias or rules.name) ~ '__settled' ~ ('_' ~ rules_hash[:12] if rules_hash else ''))) }}
{% endmacro %}

{# Whether all identity tables were built, by the rules that are in force. #}
{% macro is_settled() %}
    {# A project with profiles of its own may do without identity. #}
    {% if 'model.revetl.int_revetl__identity_rules' not in graph.nodes %}
        {{ return(true) }}
    {% endif %}
    {% set settled = revetl.settled_table(revetl.identity_rules_hash()) %}
    {{ return(adapter.get_relation(
        database=settled.database, schema=settled.schema, identifier=settled.identifier) is not none) }}
{% endmacro %}

{# Before a run that makes identity tables anew: stopped half-way, some are of one build and some of another, and
   only one that makes all of them anew puts that right. #}
{% macro unsettle_identity() %}
    {% if not execute or flags.WHICH not in ['build', 'run'] %}
        {{ return('') }}
    {% endif %}
    {% if not flags.FULL_REFRESH and revetl.is_settled() %}
        {{ return('') }}
    {% endif %}
    {% set anew = [] %}
    {% for unique_id in selected_resources if unique_id.startswith('model.revetl.')
        and 'identity_increment' in graph.nodes[unique_id].tags %}
        {% do anew.append(unique_id) %}
    {% endfor %}
    {% if anew %}
        {% do revetl.drop_settled() %}
    {% endif %}
{% endmacro %}

{# From here on nothing is settled, until a run has built everything. #}
{% macro drop_settled() %}
    {% set settled = revetl.relation_there('int_revetl__identity_rules', suffix='__settled') %}
    {% if settled is not none %}
        {% set tables = [] %}
        {% for row in run_query('select rules from ' ~ settled).rows %}
            {% do tables.append(revetl.settled_table(row[0])) %}
        {% endfor %}
        {% for table in tables + [settled] %}
            {% do revetl.run_together(['drop table if exists ' ~ table]) %}
            {% do adapter.cache_dropped(table) %}
        {% endfor %}
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
    {% set names = revetl.column_names(there) %}
    {% if 'made_by' not in names %}
        {{ return(false) }}
    {% endif %}
    {# What was made as of a later moment is not known as of an earlier one. #}
    {% set later = 'max(as_of) > ' ~ revetl.as_of() if 'as_of' in names else revetl.never() %}
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
    {% if 'model.revetl.int_revetl__identity_rules' in graph.nodes and not waiting %}
        {% set statements = [revetl.delete_all(revetl.relation_there('int_revetl__identity_changes'))] %}
        {% if not revetl.is_settled() %}
            {% set hash = revetl.identity_rules_hash() %}
            {% for table in [revetl.settled_table(), revetl.settled_table(hash)] %}
                {% do statements.append('drop table if exists ' ~ table) %}
                {% do statements.append('create table ' ~ table ~ " as select '" ~ hash ~ "' as rules, "
                    ~ revetl.utc_now() ~ ' as settled_at') %}
            {% endfor %}
        {% endif %}
        {% do revetl.run_together(statements) %}
    {% endif %}
{% endmacro %}

{# A table of which a build replaces only the rows that may have changed. The model's SQL gives those rows (all
   rows where `identity_increment()` is false); in `meta`, `key` names the columns by which the rows they replace
   are known, `stale` the model that has the keys (under `stale_key`, where its columns have other names), all
   of them or those of which `stale_if` is true; with `stale_batch`, those that this dbt invocation found. Without
   `stale`, rows are only added; where it has no row, nothing is done, so it must have the keys of new rows as well. `made_by` names what the rows are made by, which is in their column of that name: rows
   that were made by something else are all made anew. #}
{% materialization patched, default %}
    {% if not revetl.is_patch(config.get('meta', {}).get('made_by')) %}
        {% do return(revetl.build_table_anew(sql)) %}
    {% endif %}
    {% do revetl.patch_table(sql) %}
    {{ return({'relations': [this]}) }}
{% endmaterialization %}

{# What a model's `meta` says of stale rows: rows, keys, names and condition as `replace_rows` takes them, and
   `batch`, the condition alone by which the rows are this build's. None where it says nothing. #}
{% macro stale_of_model() %}
    {% set meta = config.get('meta', {}) %}
    {% if not meta.stale %}
        {{ return(none) }}
    {% endif %}
    {% set names = meta.get('stale_key', meta.key) %}
    {% set conditions = [meta.stale_if] if meta.stale_if else [] %}
    {% set batch = "stale.batch = '" ~ invocation_id ~ "'" if meta.stale_batch else none %}
    {{ return({
        'rows': revetl.relation_there(meta.stale),
        'keys': meta.key if meta.key is not string else [meta.key],
        'names': names if names is not string else [names],
        'condition': (conditions + ([batch] if batch else [])) | join(' and '),
        'batch': batch,
    }) }}
{% endmacro %}

{# Whether a relation has a row. #}
{% macro has_rows(relation, condition=none) %}
    {{ return(run_query('select count(*) from ' ~ relation ~ ' as stale' ~ (' where ' ~ condition if condition)).rows[0][0] > 0) }}
{% endmacro %}

{# Put the rows of a query in the place of the stale rows of the model's table, in one transaction where the engine has
   them. Cut short between the two statements, the next build does it again: its changes are not settled. #}
{% macro patch_table(sql) %}
    {% set stale = revetl.stale_of_model() %}
    {% if not revetl.is_plain() %}
        {{ run_hooks(pre_hooks, inside_transaction=False) }}
        {{ run_hooks(pre_hooks, inside_transaction=True) }}
        {% do revetl.replace_rows(this, revetl.listed_columns(this), sql, stale, commit=false) %}
        {% do revetl.finish_relation(this, none) %}
    {% elif stale is not none and not revetl.has_rows(stale.rows, stale.batch) %}
        {% do revetl.nothing_to_do() %}
    {% else %}
        {% do revetl.replace_rows(this, revetl.listed_columns(this), sql, stale) %}
    {% endif %}
{% endmacro %}

{# dbt wants a result of every model. #}
{% macro nothing_to_do() %}
    {% do store_raw_result('main', message='NOTHING NEW', code='NOTHING NEW', rows_affected='0') %}
{% endmacro %}
