{# Whom the experiments of the project are about, in which variant they are, and what became of them. #}
{{ config(materialized=revetl.view_kind(), enabled=revetl.has_part('experiments')) }}

{% set experiments = revetl.experiments() %}
{% set varchar, timestamp = revetl.type_of('varchar'), revetl.type_of('timestamp') %}
{% set key = revetl.quoted('key') %}

with membership as (

    select * from {{ ref('revetl', 'revetl_audience_membership') }}

),

entered as (

    select
        audience,
        {{ key }},
        min(entered_at) as entered_at
    from membership
    group by
        audience,
        {{ key }}

),

assigned as (

    {% for experiment in experiments %}
    {% set goal = experiment.goal or {} %}
    {{ 'union all' if not loop.first }}
    select
        cast({{ revetl.text_literal(experiment.name) }} as {{ varchar }}) as experiment,
        audience,
        {{ key }},
        cast({{ revetl.variant_of(key, experiment.split, experiment.salt) }} as {{ varchar }}) as variant,
        entered_at,
        cast({{ revetl.text_literal(experiment.key) }} as {{ varchar }}) as key_type,
        cast({{ revetl.text_literal(goal.event) if goal else 'null' }} as {{ varchar }}) as goal,
        {{ revetl.seconds_after('entered_at', revetl.span_seconds(goal.within)) if goal.get('within')
            else 'cast(null as ' ~ timestamp ~ ')' }} as counts_until
    from (
        select
            audience,
            {{ key }},
            {%- if goal.get('since') %}
            {%- set since = "cast('" ~ goal.since ~ "' as " ~ timestamp ~ ")" %}
            case when entered_at < {{ since }} then {{ since }} else entered_at end as entered_at
            {%- else %}
            entered_at
            {%- endif %}
        from entered
        where audience = {{ revetl.text_literal(experiment.audience) }}
    ) as counted_from
    {% else %}
    select
        audience as experiment,
        audience,
        {{ key }},
        audience as variant,
        entered_at,
        audience as key_type,
        audience as goal,
        entered_at as counts_until
    from entered
    where {{ revetl.never() }}
    {% endfor %}

),

-- The syncs whose deliveries are an experiment's.
experiment_syncs as (

    {% set pairs = [] %}
    {% for experiment in experiments %}
    {% for sync in experiment.syncs %}
    {% do pairs.append((experiment.name, sync)) %}
    {% endfor %}
    {% endfor %}
    {% for name, sync in pairs %}
    {{ 'union all' if not loop.first }}
    select
        cast({{ revetl.text_literal(name) }} as {{ varchar }}) as experiment,
        cast({{ revetl.text_literal(sync) }} as {{ varchar }}) as sync
    {% else %}
    select
        audience as experiment,
        audience as sync
    from entered
    where {{ revetl.never() }}
    {% endfor %}

),

-- The log forgets after some time, and what is held still is known longer.
acknowledged as (

    select
        sync,
        {{ key }},
        changed_at as delivered_at
    from {{ revetl.live(revetl.state_table('sync_changes')) }}
    where
        outcome = 'delivered'
        and operation <> 'remove'
    union all
    select
        sync,
        {{ key }},
        acknowledged_at as delivered_at
    from {{ revetl.live(revetl.state_table('sync_state')) }}
    where acknowledged_at is not null

),

delivered as (

    select
        experiment_syncs.experiment,
        acknowledged.{{ key }},
        min(acknowledged.delivered_at) as delivered_at
    from acknowledged
    inner join experiment_syncs
        on acknowledged.sync = experiment_syncs.sync
    group by
        experiment_syncs.experiment,
        acknowledged.{{ key }}

),

graph as (

    select * from {{ ref('revetl', 'int_revetl__identity_graph') }}

),

known as (

    select
        assigned.*,
        case
            when assigned.key_type = 'canonical_id' then assigned.{{ key }}
            else graph.canonical_id
        end as canonical_id
    from assigned
    left join graph
        on
            assigned.key_type = graph.identifier_type
            and assigned.{{ key }} = graph.identifier_value

),

tracks as (

    select * from {{ ref('revetl', 'stg_revetl__tracks') }}

),

events as (

    select * from {{ ref('revetl', 'revetl_events') }}
    where source = 'track'

),

goals as (

    select
        known.experiment,
        known.{{ key }},
        min(events.timestamp) as converted_at
    from known
    inner join events
        on known.canonical_id = events.canonical_id
    inner join tracks
        on
            events.message_id = tracks.message_id
            and known.goal = tracks.event_text
    where
        events.timestamp >= known.entered_at
        and (known.counts_until is null or events.timestamp < known.counts_until)
    group by
        known.experiment,
        known.{{ key }}

),

members as (

    select
        known.experiment,
        known.audience,
        known.{{ key }},
        known.canonical_id,
        known.variant,
        known.entered_at,
        delivered.delivered_at,
        known.goal,
        goals.converted_at
    from known
    left join delivered
        on
            known.experiment = delivered.experiment
            and known.{{ key }} = delivered.{{ key }}
    left join goals
        on
            known.experiment = goals.experiment
            and known.{{ key }} = goals.{{ key }}

)

select * from members
