{# How the identity models are built piece by piece.

   `int_revetl__message_changes` gathers which messages are not as they were, and `int_revetl__identity_changes` what they
   show now and did not at the last build, and the other way round, until every model that is built of them has been
   built after it: then they are settled (the end of the dbt run), and both are emptied. A build that failed half-way is so made good by the next. The
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
    {% if not flags.FULL_REFRESH and revetl.is_settled() and not revetl.a_staged_table_is_missing() %}
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
    {# What was made as of a later moment is not known as of an earlier one. #}
    {% set later = 'max(as_of) > ' ~ revetl.as_of() if config.get('meta', {}).get('is_dated') else revetl.never() %}
    {% set rows = run_query('select min(made_by), max(made_by), case when ' ~ later ~ ' then 1 else 0 end from ' ~ there).rows %}
    {{ return(rows[0][0] == made_by and rows[0][1] == made_by and rows[0][2] == 0) }}
{% endmacro %}

{# The days whose messages are not those that the sightings were made of, of the models that record no changes of their
   own; none for any day (so many that naming them is no help), `all` for any message of any model: what is blocked has
   changed. #}
{% macro changed_days() %}
    {% set days = revetl.relation_there('int_revetl__identity_days') %}
    {% set sighted = revetl.relation_there('int_revetl__identity_sighted_days') %}
    {% if sighted is none or days is none %}
        {{ return('all') }}
    {% endif %}
    {% set varchar = revetl.type_of('varchar') %}
    {% set rows = run_query(
        'select distinct cast(day as ' ~ varchar ~ ') as day from ('
        ~ 'select coalesce(n.day, t.day) as day from ' ~ days ~ ' as n full outer join ' ~ sighted ~ ' as t '
        ~ "on coalesce(n.day, cast('0001-01-01' as date)) = coalesce(t.day, cast('0001-01-01' as date)) "
        ~ 'where n.message_count is null or t.message_count is null or n.message_count <> t.message_count '
        ~ 'or coalesce(n.hash_sum, 0) <> coalesce(t.hash_sum, 0)) as changed').rows %}
    {% set changed = rows | map(attribute=0) | list %}
    {{ return('all' if none in changed else none if changed | length > 100 else changed) }}
{% endmacro %}

{# Whether this run makes the sightings: by sums of days that it takes itself, or anew. #}
{% macro makes_sightings() %}
    {% if not execute or model.resource_type == 'unit_test' %}
        {{ return(true) }}
    {% endif %}
    {% set needed = ['int_revetl__identity_sightings']
        + (['int_revetl__identity_changes'] if revetl.identity_increment() else []) %}
    {% for name in needed if 'model.revetl.' ~ name not in selected_resources %}
        {{ return(false) }}
    {% endfor %}
    {{ return(true) }}
{% endmacro %}

{# Which messages a build that patches looks at, as a list of parts, each a `sources` (their names) and a `by`:
   `changes` (those in `int_revetl__message_changes`), a list of days, or none (all of them). Of aliases and cuts always
   all: they are few, and what an alias means may change with another message. #}
{% macro identity_parts(days) %}
    {% set recorded, others = [], [] %}
    {% for name, seen in revetl.identity_rules().models.items() if seen.source != 'alias' %}
        {% if days != 'all' and revetl.records_changes(name) %}
            {% do recorded.append(seen.source) %}
        {% else %}
            {% do others.append(seen.source) %}
        {% endif %}
    {% endfor %}
    {% set parts = [{'sources': ['alias', 'cut'], 'by': none}] %}
    {% if recorded %}
        {% do parts.append({'sources': recorded, 'by': 'changes'}) %}
    {% endif %}
    {% if others and days != [] %}
        {% do parts.append({'sources': others, 'by': none if days == 'all' else days}) %}
    {% endif %}
    {{ return(parts) }}
{% endmacro %}

{# The part that a source is in; none where nothing of it is looked at. #}
{% macro identity_part_of(source, parts) %}
    {% set found = [] %}
    {% for part in parts if source in part.sources %}
        {% do found.append(part) %}
    {% endfor %}
    {{ return(found[0] if found else none) }}
{% endmacro %}

{# A condition of a moment: that it is on one of some days. #}
{% macro is_on_days(moment, days) -%}
    (
        {%- for day in days %}
        {%- set start = "cast('" ~ day ~ "' as " ~ revetl.type_of('timestamp') ~ ")" %}
        {{ 'or ' if not loop.first }}({{ moment }} >= {{ start }} and {{ moment }} < {{ revetl.days_after(start, 1) }})
        {%- endfor %}
    )
{%- endmacro %}

{# A select of the rows that a build looks at (`identity_parts`) of a relation with source, message_id and timestamp. #}
{% macro rows_of_parts(relation, parts) -%}
    {% for part in parts -%}
    {{ 'union all' if not loop.first }}
    select seen.*
    from {{ relation }} as seen
    {%- if part.by == 'changes' %}
    inner join (
        select distinct
            source as changed_source,
            message_id as changed_id,
            timestamp as changed_at
        from {{ revetl.relation_there('int_revetl__message_changes') }}
    ) as changed
        on
            seen.source = changed.changed_source
            and seen.message_id = changed.changed_id
            and seen.timestamp = changed.changed_at
    {%- endif %}
    where
        seen.source in ({{ revetl.text_literals(part.sources) }})
        {%- if part.by is not none and part.by != 'changes' %}
        and {{ revetl.is_on_days('seen.timestamp', part.by) }}
        {%- endif %}
    {% endfor %}
{%- endmacro %}

{# A condition of rows of such a relation: that the build does not look at them. #}
{% macro in_no_part(rows, parts) -%}
    {% set conditions = [] -%}
    {% for part in parts -%}
        {% set is_of = rows ~ '.source in (' ~ revetl.text_literals(part.sources) ~ ')' -%}
        {% if part.by is none -%}
            {% do conditions.append('not ' ~ is_of) -%}
        {% elif part.by == 'changes' -%}
            {% do conditions.append('not exists (select 1 from '
                ~ revetl.relation_there('int_revetl__message_changes') ~ ' as changes where changes.source = ' ~ rows
                ~ '.source and changes.message_id = ' ~ rows ~ '.message_id)') -%}
        {% else -%}
            {% do conditions.append('not (' ~ is_of ~ ' and ' ~ revetl.is_on_days(rows ~ '.timestamp', part.by) ~ ')') -%}
        {% endif -%}
    {% endfor -%}
    {{ return(conditions | join(' and ')) }}
{%- endmacro %}

{# Tells one set of rules from another, and one version of what is made of them from another; what staging leaves out or
   rewrites is one of them. #}
{% macro identity_rules_hash() %}
    {{ return(local_md5('4 ' ~ tojson(var('identity', none), sort_keys=true) ~ revetl.staging_hash())) }}
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
        {# What is touched goes with the changes: without them, nobody knows what to put in the place of its rows. #}
        {% set statements = [] %}
        {% for name in ['int_revetl__trait_touched', 'int_revetl__identity_touched', 'int_revetl__identity_changes',
            'int_revetl__message_changes'] %}
            {% set there = revetl.relation_there(name) %}
            {% if there is not none %}
                {% do statements.append(revetl.delete_all(there)) %}
            {% endif %}
        {% endfor %}
        {% if not revetl.is_settled() %}
            {% set hash = revetl.identity_rules_hash() %}
            {% for table in [revetl.settled_table(), revetl.settled_table(hash)] %}
                {% do statements.append('drop table if exists ' ~ table) %}
                {% do statements.append('create table ' ~ table ~ " as select '" ~ hash ~ "' as rules, "
                    ~ revetl.utc_now() ~ ' as settled_at') %}
            {% endfor %}
        {% endif %}
        {% do revetl.run_together(statements) %}
    {% elif 'model.revetl.int_revetl__identity_rules' not in graph.nodes and revetl.relation_there('int_revetl__message_changes') %}
        {# Without identity, nothing is made of them. #}
        {% do revetl.run_together([revetl.delete_all(revetl.relation_there('int_revetl__message_changes'))]) %}
    {% endif %}
{% endmacro %}

{# A table of which a build replaces only the rows that may have changed. The model's SQL gives those rows (all
   rows where `identity_increment()` is false); in `meta`, `key` names the columns by which the rows they replace
   are known, `stale` the model that has the keys (under `stale_key`, where its columns have other names), all
   of them or those of which `stale_if` is true; with `stale_batch`, those that this dbt invocation found. Without
   `stale`, rows are only added; where it has no row, nothing is done, so it must have the keys of new rows as well.
   `made_by` names what the rows are made by, which is in their column of that name: rows that were made by something else
   are all made anew; so are rows with a column `as_of` (`is_dated`) that is later than this build's. #}
{% materialization patched, default %}
    {% if not revetl.is_patch(config.get('meta', {}).get('made_by')) %}
        {% do return(revetl.build_table_anew(sql)) %}
    {% endif %}
    {% do revetl.patch_table(sql) %}
    {{ return({'relations': [this]}) }}
{% endmaterialization %}

{# A table that is left as it is once it is there: others write into it. #}
{% materialization made_once, default %}
    {% if not revetl.is_patch() %}
        {{ return(revetl.build_table_anew(sql)) }}
    {% endif %}
    {% do revetl.nothing_to_do() %}
    {{ return({'relations': [this]}) }}
{% endmaterialization %}

{# A table that is left as it is where nothing is stale (`stale`, in `meta`, names the model that says so), the rows that it
   was made of (`made_of`) have the `as_of` that it keeps, and it was `made_by` the same. #}
{% materialization made_when_stale, default %}
    {% set meta = config.get('meta', {}) %}
    {% if revetl.is_patch(meta.made_by) %}
        {% set counts = run_query(
            'select count(*) from ' ~ revetl.relation_there(meta.stale) ~ ' union all select count(*) '
            ~ 'from (select max(as_of) as as_of from ' ~ revetl.relation_there(meta.made_of) ~ ') as newest inner join '
            ~ '(select max(as_of) as as_of from ' ~ this ~ ') as made on newest.as_of <> made.as_of').rows %}
        {% if counts[0][0] + counts[1][0] == 0 %}
            {% do revetl.nothing_to_do() %}
            {{ return({'relations': [this]}) }}
        {% endif %}
    {% endif %}
    {{ return(revetl.build_table_anew(sql)) }}
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
