{# How a table of messages is kept up to date without reading all of them.

   Each build sums the raw rows by the days of their times and of their landing: their number, and the hashes of all their
   columns. Where a sum is not what it was when the table was last brought up to date (messages that came, went, were
   edited, or happened after an earlier `as_of`), the messages with a row there are looked at: made again from all their
   raw rows, and compared with the table's. What differs is recorded in `int_revetl__message_changes`, which everything
   that is made of messages goes by, before the table is patched; the sums are kept last. Cut short anywhere, the next
   build finds the same again. #}
{% materialization staged, default %}
    {% set raw, sample = config.get('meta').raw, config.get('meta').sample %}
    {% if not revetl.patches_staging() %}
        {% if revetl.identity_increment() %}
            {# The table is gone, so that nobody knows what has changed: whatever is made of it is made again. #}
            {% do revetl.drop_settled() %}
        {% endif %}
        {% set kept = revetl.kept_days(raw) %}
        {% if 'model.revetl.int_revetl__message_changes' not in selected_resources %}
            {# Then dbt has not made its schema. #}
            {% do adapter.create_schema(kept) %}
        {% endif %}
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
            coalesce(found.landed_on, kept.landed_on) as landed_on
        from {{ days }} as found
        full outer join {{ kept }} as kept
            on found.day = kept.day and found.landed_on = kept.landed_on
        where
            found.message_count is null or kept.message_count is null
            or found.message_count <> kept.message_count or found.hash_sum <> kept.hash_sum
    {% endset %}
    {# They stay there: to drop them would be a statement more for every build. #}
    {% set counted = revetl.make_tables(
        [(days, revetl.raw_days(raw, sample))], ['select count(*) from (' ~ changed_days ~ ') as changed']) %}
    {% if counted[0][0] == 0 %}
        {% do revetl.nothing_to_do() %}
        {{ return('') }}
    {% endif %}
    {% set columns = revetl.listed_columns(this) %}
    {% set changes = revetl.relation_there('int_revetl__message_changes') %}
    {% do revetl.working_table('ids', revetl.ids_to_look_at(raw, sample, changed_days)) %}
    {% do revetl.working_table('fresh', sql) %}
    {% do revetl.run_together([revetl.record_message_changes(type, changes, columns)]) %}
    {% do revetl.replace_rows(
        this,
        columns,
        'select * from ' ~ revetl.working('fresh') ~ ' where message_id in (select changes.message_id from ' ~ changes
            ~ " as changes where changes.source = '" ~ type ~ "' and changes.batch = '" ~ invocation_id ~ "')",
        {'rows': changes, 'keys': ['message_id'], 'names': ['message_id'],
            'condition': "stale.source = '" ~ type ~ "' and stale.batch = '" ~ invocation_id ~ "'"},
        commit=revetl.is_plain()) %}
    {% do revetl.make_tables([(kept, 'select * from ' ~ days)]) %}
    {% do revetl.drop_working_tables(['ids', 'fresh']) %}
{% endmacro %}

{# The sums of a raw table: one row per day of the messages' times and of their landing. No day is the year 1. #}
{% macro raw_days(raw, sample) %}
    {% set columns = revetl.raw_columns(raw) %}
    select
        day,
        landed_on,
        count(*) as message_count,
        sum(cast(row_hash as {{ revetl.type_of('decimal(38, 0)') }})) as hash_sum
    from (
        {%- for rows in revetl.raw_rows(raw, sample) %}
        {{ 'union all' if not loop.first }}
        select
            {{ revetl.day_or_none(revetl.message_time()) }} as day,
            {{ revetl.day_or_none('uuid_ts') }} as landed_on,
            {{ revetl.hash_columns(columns if rows.is_landed else columns | reject('equalto', 'source_id') | list) }} as row_hash
        from {{ rows.relation }}
        where {{ rows.condition }}
        {%- endfor %}
    ) as hashed
    group by
        day,
        landed_on
{% endmacro %}

{# The ids of messages with a row on a day that has changed: in the raw table or in the staged one. #}
{% macro ids_to_look_at(raw, sample, changed_days) %}
    select distinct message_id
    from (
        {%- for rows in revetl.raw_rows(raw, sample) %}
        select
            id as message_id,
            {{ revetl.day_or_none(revetl.message_time()) }} as day,
            {{ revetl.day_or_none('uuid_ts') }} as landed_on
        from {{ rows.relation }}
        where {{ rows.condition }}
        union all
        {%- endfor %}
        select
            message_id,
            {{ revetl.day_or_none('timestamp') }} as day,
            {{ revetl.day_or_none('loaded_at') }} as landed_on
        from {{ this }}
    ) as found
    inner join ({{ changed_days }}) as changed
        on found.day = changed.day and found.landed_on = changed.landed_on
{% endmacro %}

{# SQL that records the messages of the working table `ids` that the working table `fresh` has otherwise than the staged
   table. #}
{% macro record_message_changes(type, changes, columns) %}
    {% set values = [] %}
    {% for column in columns.split(', ') %}
        {% set name = column | replace('"', '') | replace('`', '') | lower %}
        {% do values.append(
            revetl.hashed_document(column) if name in ['properties', 'traits', 'context']
            else revetl.hashed_truth(column) if name == 'is_clock_ahead' else column) %}
    {% endfor %}
    {% set hashed = revetl.hash_columns(values) %}
    insert into {{ changes }} (source, message_id, batch)
    select
        '{{ type }}',
        coalesce(fresh.message_id, staged.message_id),
        '{{ invocation_id }}'
    from (select message_id, {{ hashed }} as row_hash from {{ revetl.working('fresh') }}) as fresh
    full outer join (
        select message_id, {{ hashed }} as row_hash from {{ this }}
        where message_id in (select ids.message_id from {{ revetl.working('ids') }} as ids)
    ) as staged
        on fresh.message_id = staged.message_id
    where
        fresh.message_id is null or staged.message_id is null or fresh.row_hash <> staged.row_hash
{% endmacro %}

{# Where the rows of a raw table are: `relation`, the `condition` of those that happened by `as_of`, and whether they
   were landed (`is_landed`) or are the sample's. #}
{% macro raw_rows(raw, sample) %}
    {% set timely = '(timestamp is null or ' ~ revetl.message_time() | trim ~ ' <= ' ~ revetl.as_of() | trim ~ ')' %}
    {% set found = [{'relation': revetl.raw_table(raw), 'condition': timely, 'is_landed': true}] %}
    {% if sample and var('sample_events') %}
        {% do found.append({'relation': revetl.relation_of_seed(sample),
            'condition': timely ~ ' and ' ~ revetl.nothing_has_landed() | trim, 'is_landed': false}) %}
    {% endif %}
    {{ return(found) }}
{% endmacro %}

{% macro relation_of_seed(name) %}
    {% set node = graph.nodes['seed.revetl.' ~ name] %}
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
