{# How a table of messages is kept up to date without reading all of them.

   Each build sums the raw rows by the day of their time and the hour of their landing: their number, and the hashes of all their
   columns. Where a sum is not what it was when the table was last brought up to date (messages that came, went, were
   edited, or happened after an earlier `as_of`), the messages with a row there are looked at: made again from all their
   raw rows, and compared with the table's. What differs is recorded in `int_revetl__message_changes`, which everything
   that is made of messages goes by, before the table is patched; the sums are kept last. Cut short anywhere, the next
   build finds the same again. #}
{% materialization staged, default %}
    {% set raw, sample = config.get('meta').raw, config.get('meta').sample %}
    {% if revetl.raw_span() not in sql %}
        {% set kept = revetl.kept_days(raw) %}
        {% do revetl.make_tables([(kept, revetl.raw_days(raw, sample))]) %}
        {% do return(revetl.build_table_anew(sql)) %}
    {% endif %}
    {% if not revetl.is_plain() %}
        {{ run_hooks(pre_hooks, inside_transaction=False) }}
        {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {% endif %}
    {% do revetl.patch_messages(raw, sample, sql) %}
    {% do revetl.finish_relation(this, none) %}
    {{ return({'relations': [this]}) }}
{% endmaterialization %}

{# Before a run of staging models without `int_revetl__message_changes`: make its schema, which dbt doesn't make then, and
   in which they keep their sums. Made by each of them, it would be made by several at once, which DuckDB refuses. #}
{% macro create_schema_of_sums() %}
    {% if not execute or flags.WHICH not in ['build', 'run']
        or 'model.revetl.int_revetl__message_changes' in selected_resources %}
        {{ return('') }}
    {% endif %}
    {% set staged = [] %}
    {% for name in revetl.message_models() if 'model.revetl.' ~ name in selected_resources and revetl.records_changes(name) %}
        {% do staged.append(name) %}
    {% endfor %}
    {% if staged %}
        {% do adapter.create_schema(revetl.kept_days(staged[0])) %}
    {% endif %}
{% endmacro %}

{# Whether a table of messages is gone, or the sums of one: nobody knows then what has changed, and all is made again. #}
{% macro a_staged_table_is_missing() %}
    {% set missing = [] %}
    {% for name in revetl.message_models() if revetl.records_changes(name) %}
        {% set kept = revetl.kept_days(graph.nodes['model.revetl.' ~ name].config.meta.raw) %}
        {% set there = revetl.relation_there(name) %}
        {% if there is none or there.type != 'table' or adapter.get_relation(
            database=kept.database, schema=kept.schema, identifier=kept.identifier) is none %}
            {% do missing.append(name) %}
        {% endif %}
    {% endfor %}
    {{ return(missing | length > 0) }}
{% endmacro %}

{# Whether this build patches the model's table of messages. #}
{% macro patches_staging() %}
    {% if not revetl.is_patch() or model.config.materialized != 'staged' %}
        {{ return(false) }}
    {% endif %}
    {% set kept = revetl.kept_days(model.config.meta.raw) %}
    {{ return(adapter.get_relation(database=kept.database, schema=kept.schema, identifier=kept.identifier) is not none) }}
{% endmacro %}

{# Whether a staging model of this package records its changes in `int_revetl__message_changes`: not one that the project
   has replaced, or made a view. #}
{% macro records_changes(name) %}
    {% set node = graph.nodes.get('model.revetl.' ~ name) %}
    {{ return(node is defined and node is not none and node.config.materialized == 'staged') }}
{% endmacro %}

{# The table of a raw table's sums, as they were when the messages were last brought up to date. #}
{% macro kept_days(raw) %}
    {% set changes = graph.nodes['model.revetl.int_revetl__message_changes'] %}
    {{ return(api.Relation.create(
        database=changes.database, schema=changes.schema, identifier='int_revetl__raw_days__' ~ raw, type='table')) }}
{% endmacro %}

{% macro patch_messages(raw, sample, sql) %}
    {% set type = revetl.message_models()[model.name] %}
    {% set kept = revetl.kept_days(raw) %}
    {% set days = kept.incorporate(path={'identifier': kept.identifier ~ '__found'}) %}
    {% set changed_days %}
        select
            coalesce(found.day, kept.day) as day,
            coalesce(found.landed_at, kept.landed_at) as landed_at
        from {{ days }} as found
        full outer join {{ kept }} as kept
            on found.day = kept.day and found.landed_at = kept.landed_at
        where
            found.message_count is null or kept.message_count is null
            or found.message_count <> kept.message_count or found.hash_sum <> kept.hash_sum
    {% endset %}
    {# They stay there: to drop them would be a statement more for every build. #}
    {% set varchar = revetl.type_of('varchar') %}
    {% set counted = revetl.make_tables([(days, revetl.raw_days(raw, sample))], [
        'select count(*), cast(min(landed_at) as ' ~ varchar ~ '), cast(max(landed_at) as ' ~ varchar ~ ') from ('
        ~ changed_days ~ ') as changed']) %}
    {% if counted[0][0] == 0 %}
        {% do revetl.nothing_to_do() %}
        {{ return('') }}
    {% endif %}
    {% set columns = revetl.listed_columns(this) %}
    {% set changes = revetl.relation_there('int_revetl__message_changes') %}
    {% do revetl.working_table('ids', revetl.ids_to_look_at(
        raw, sample, changed_days, counted[0][1], counted[0][2])) %}
    {% set spans = revetl.spans_of_ids(raw, sample) %}
    {% do revetl.working_table('fresh', sql | replace(revetl.raw_span(), revetl.within_span(spans[0]))) %}
    {% do revetl.run_together([revetl.record_message_changes(type, changes, columns, spans[1])]) %}
    {% set stale = {'rows': changes, 'keys': ['message_id'], 'names': ['message_id'],
        'condition': "stale.source = '" ~ type ~ "' and stale.batch = '" ~ invocation_id ~ "'"} %}
    {% do revetl.replace_rows(
        this,
        columns,
        'select * from ' ~ revetl.working('fresh') ~ ' where message_id in (select changes.message_id from ' ~ changes
            ~ " as changes where changes.source = '" ~ type ~ "' and changes.batch = '" ~ invocation_id ~ "')",
        stale if spans[1].number else none,
        commit=revetl.is_plain()) %}
    {% do revetl.make_tables([(kept, 'select * from ' ~ days)]) %}
    {% do revetl.drop_working_tables(['ids', 'fresh']) %}
{% endmacro %}

{# The sums of a raw table: one row per day of the messages' times and hour of their landing. No time is the year 1. #}
{% macro raw_days(raw, sample) %}
    {% set columns = revetl.raw_columns(raw) %}
    select
        day,
        landed_at,
        count(*) as message_count,
        sum(cast(row_hash as {{ revetl.type_of('decimal(38, 0)') }})) as hash_sum
    from (
        {%- for rows in revetl.raw_rows(raw, sample) %}
        {{ 'union all' if not loop.first }}
        select
            {{ revetl.day_or_none(revetl.message_time()) }} as day,
            {{ revetl.hour_or_none('uuid_ts') }} as landed_at,
            {{ revetl.hash_columns(columns if rows.is_landed else columns | reject('equalto', 'source_id') | list) }} as row_hash
        from {{ rows.relation }}
        where {{ rows.condition }}
        {%- endfor %}
    ) as hashed
    group by
        day,
        landed_at
{% endmacro %}

{# The ids of messages with a row whose sum has changed: in the raw table or in the staged one. `first` and `last` are the
   first and last hours of landing that changed: rows land in that order, and are so read in part. #}
{% macro ids_to_look_at(raw, sample, changed_days, first, last) %}
    select distinct message_id
    from (
        {%- for rows in revetl.raw_rows(raw, sample) %}
        select
            id as message_id,
            {{ revetl.day_or_none(revetl.message_time()) }} as day,
            {{ revetl.hour_or_none('uuid_ts') }} as landed_at
        from {{ rows.relation }}
        where
            {{ rows.condition }}
            {{ revetl.within_landing('uuid_ts', first, last) }}
        union all
        {%- endfor %}
        select
            message_id,
            {{ revetl.day_or_none('timestamp') }} as day,
            {{ revetl.hour_or_none('loaded_at') }} as landed_at
        from {{ this }}
        where
            1 = 1
            {{ revetl.within_landing('loaded_at', first, last) }}
    ) as found
    inner join ({{ changed_days }}) as changed
        on found.day = changed.day and found.landed_at = changed.landed_at
{% endmacro %}

{# The end of a condition of rows: that they landed from the hour `first` to the hour `last`; nothing where some have no
   time of landing, which is the year 1. #}
{% macro within_landing(moment, first, last) %}
    {% if first.startswith('0001-') %}
        {{ return('') }}
    {% endif %}
    {% set timestamp = revetl.type_of('timestamp') %}
    {{ return('and ' ~ moment ~ " >= cast('" ~ first ~ "' as " ~ timestamp ~ ') and ' ~ moment ~ ' < '
        ~ revetl.seconds_after("cast('" ~ last ~ "' as " ~ timestamp ~ ')', 3600) | trim) }}
{% endmacro %}

{# What stands in a staging model's SQL for the span of the raw rows that are looked at. #}
{% macro raw_span() %}
    {{ return('/* of the span of those messages */') }}
{% endmacro %}

{# The `number` of rows of the messages in the working table `ids`, and the `first` and `last` of their times (none where one
   has no time): of the raw table's, and of the staged one's. Tables in the order of time are so read in part. #}
{% macro spans_of_ids(raw, sample) %}
    {% set varchar = revetl.type_of('varchar') %}
    {% set parts = [] %}
    {% for rows in revetl.raw_rows(raw, sample) %}
        {% do parts.append('select 0 as part, id as message_id, timestamp from ' ~ rows.relation) %}
    {% endfor %}
    {% do parts.append('select 1 as part, message_id, timestamp from ' ~ this) %}
    {% set found = [{'number': 0}, {'number': 0}] %}
    {% for row in run_query(
        'select part, count(*), count(timestamp), cast(min(timestamp) as ' ~ varchar ~ '), cast(max(timestamp) as ' ~ varchar
        ~ ') from (' ~ parts | join(' union all ') ~ ') as seen where message_id in (select ids.message_id from '
        ~ revetl.working('ids') ~ ' as ids) group by part').rows %}
        {% set is_whole = row[1] == row[2] %}
        {% do found[row[0] | int].update({
            'number': row[1], 'first': row[3] if is_whole else none, 'last': row[4] if is_whole else none}) %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}

{# The end of a condition of rows: that they are of a span; nothing where it has no ends. #}
{% macro within_span(span) %}
    {% if not span.number or span.first is none %}
        {{ return('') }}
    {% endif %}
    {% set moment = revetl.type_of('timestamp') %}
    {{ return('and timestamp >= ' ~ revetl.hours_before("cast('" ~ span.first ~ "' as " ~ moment ~ ')', 1) | trim
        ~ ' and timestamp <= ' ~ revetl.seconds_after("cast('" ~ span.last ~ "' as " ~ moment ~ ')', 3600) | trim) }}
{% endmacro %}

{# SQL that records the messages of the working table `ids` that the working table `fresh` has otherwise than the staged
   table: a row for the time that they had and one for the time that they have. #}
{% macro record_message_changes(type, changes, columns, span) %}
    {% set values = [] %}
    {% for column in columns.split(', ') %}
        {% set name = column | replace('"', '') | replace('`', '') | lower %}
        {% do values.append(
            revetl.hashed_document(column) if name in ['properties', 'traits', 'context']
            else revetl.hashed_truth(column) if name == 'is_clock_ahead' else column) %}
    {% endfor %}
    {% set hashed = revetl.hash_columns(values) %}
    insert into {{ changes }} (source, message_id, timestamp, batch)
    select
        '{{ type }}',
        coalesce(fresh.message_id, staged.message_id),
        case when sides.side = 'staged' then staged.timestamp else fresh.timestamp end,
        '{{ invocation_id }}'
    from (select message_id, timestamp, {{ hashed }} as row_hash from {{ revetl.working('fresh') }}) as fresh
    full outer join (
        select message_id, timestamp, {{ hashed }} as row_hash from {{ this }}
        where
            {{ revetl.never() ~ ' and ' if not span.number }}message_id in (
                select ids.message_id from {{ revetl.working('ids') }} as ids
            )
            {{ revetl.within_span(span) }}
    ) as staged
        on fresh.message_id = staged.message_id
    cross join (select 'fresh' as side union all select 'staged' as side) as sides
    where
        (fresh.message_id is null or staged.message_id is null or fresh.row_hash <> staged.row_hash)
        and (
            (sides.side = 'fresh' and fresh.message_id is not null)
            or (sides.side = 'staged' and staged.message_id is not null
                and (fresh.message_id is null or fresh.timestamp is null or fresh.timestamp <> staged.timestamp))
        )
{% endmacro %}

{# Where the rows of a raw table are: `relation`, the `condition` of those that happened by `as_of`, and whether they
   were landed (`is_landed`) or are the sample's. #}
{% macro raw_rows(raw, sample) %}
    {% set timely = '(timestamp is null or ' ~ revetl.message_time() | trim ~ ' <= ' ~ revetl.as_of() | trim ~ ')' %}
    {% set found = [{'relation': revetl.raw_table(raw), 'condition': timely, 'is_landed': true}] %}
    {% if sample and var('sample_events') %}
        {% do found.append({'relation': revetl.relation_of_sample(sample),
            'condition': timely ~ ' and ' ~ revetl.nothing_has_landed() | trim, 'is_landed': false}) %}
    {% endif %}
    {{ return(found) }}
{% endmacro %}

{% macro relation_of_sample(name) %}
    {% set node = graph.nodes['model.revetl.' ~ name] %}
    {{ return(api.Relation.create(database=node.database, schema=node.schema, identifier=node.alias or node.name)) }}
{% endmacro %}

{# The columns of a raw table, documents as what is hashed of them. #}
{% macro raw_columns(raw) %}
    {% set found = [] %}
    {% for column in graph.sources['source.revetl.revetl_raw.' ~ raw].columns.values() %}
        {% do found.append(revetl.hashed_document(column.name) if column.data_type == 'json' else column.name) %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}

{% macro day_or_none(moment) -%}
    coalesce(cast({{ moment }} as date), cast('0001-01-01' as date))
{%- endmacro %}

{% macro hour_or_none(moment) -%}
    coalesce({{ revetl.start_of('hour', moment) | trim }}, cast('0001-01-01' as {{ revetl.type_of('timestamp') }}))
{%- endmacro %}
