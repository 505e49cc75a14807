{{ config(enabled=revetl.has_part('protocols')) }}
{% set plan = revetl.tracking_plan() %}
{% set has_plan = plan.events or plan.documents or not revetl.is_allowed(plan.unplanned_events) %}
{% set quiet_days = var('quiet_days', 7) %}
{% set moment = revetl.type_of('timestamp') %}

with messages as{{ revetl.read_anew() }} (

    {{ revetl.planned_messages(plan, all_types=has_plan) }}

),

received as{{ revetl.read_anew() }} (

    select
        message_type,
        message_id,
        coalesce(event, '') as event_name,
        cast(timestamp as date) as day,
        content
    from messages

),

volumes as (

    select
        message_type,
        event_name,
        day,
        count(distinct message_id) as message_count
    from received
    group by
        message_type,
        event_name,
        day

),

last_days as (

    select max(day) as last_day
    from volumes

),

event_days as (

    select
        volumes.*,
        last_days.last_day,
        lag(volumes.day) over (
            partition by
                volumes.message_type,
                volumes.event_name
            order by volumes.day
        ) as previous_day,
        lead(volumes.day) over (
            partition by
                volumes.message_type,
                volumes.event_name
            order by volumes.day
        ) as next_day
    from volumes
    cross join last_days

),

names as (

    {{ revetl.property_names('received') }}

),

name_days as (

    select
        names.*,
        lag(names.day) over (
            partition by
                names.message_type,
                names.event_name,
                names.property_name
            order by names.day
        ) as previous_day,
        lead(names.day) over (
            partition by
                names.message_type,
                names.event_name,
                names.property_name
            order by names.day
        ) as next_day
    from names

),

-- On the first day of an event, all its properties are; that is not told of each of them.
new_names as (

    select
        name_days.message_type,
        name_days.event_name,
        name_days.day,
        count(*) as new_property_count,
        {{ revetl.listed_names('name_days.property_name') }} as new_properties
    from name_days
    inner join event_days
        on
            name_days.message_type = event_days.message_type
            and name_days.event_name = event_days.event_name
            and name_days.day = event_days.day
    where
        name_days.previous_day is null
        and event_days.previous_day is not null
    group by
        name_days.message_type,
        name_days.event_name,
        name_days.day

),

-- It is gone from the next day on which the event is seen.
vanished_names as (

    select
        name_days.message_type,
        name_days.event_name,
        event_days.next_day as day,
        count(*) as vanished_property_count,
        {{ revetl.listed_names('name_days.property_name') }} as vanished_properties
    from name_days
    inner join event_days
        on
            name_days.message_type = event_days.message_type
            and name_days.event_name = event_days.event_name
            and name_days.day = event_days.day
    where
        event_days.next_day is not null
        and (name_days.next_day is null or name_days.next_day > event_days.next_day)
        and {{ revetl.days_between(
            'cast(name_days.day as ' ~ moment ~ ')',
            'cast(coalesce(name_days.next_day, event_days.last_day) as ' ~ moment ~ ')') }} > {{ quiet_days }}
    group by
        name_days.message_type,
        name_days.event_name,
        event_days.next_day

),

violations as (

    select
        message_type,
        coalesce(event, '') as event_name,
        cast(timestamp as date) as day,
        count(*) as violation_count,
        count(distinct message_id) as violating_message_count,
        count(distinct case when action = 'block' then message_id end) as blocked_message_count
    from {{ ref('revetl', 'revetl_tracking_plan_violations') }}
    group by
        message_type,
        coalesce(event, ''),
        cast(timestamp as date)

),

days as (

    select
        message_type,
        event_name,
        day,
        message_count,
        {{ revetl.truth('previous_day is null') }} as is_new_event,
        {{ revetl.truth('false') }} as is_vanished_event
    from event_days
    union all
    select
        message_type,
        event_name,
        cast({{ revetl.days_after('cast(day as ' ~ moment ~ ')', 1) }} as date) as day,
        0 as message_count,
        {{ revetl.truth('false') }} as is_new_event,
        {{ revetl.truth('true') }} as is_vanished_event
    from event_days
    where
        {{ revetl.days_between(
            'cast(day as ' ~ moment ~ ')',
            'cast(coalesce(next_day, last_day) as ' ~ moment ~ ')') }} > {{ quiet_days }}

),

quality as (

    select
        days.day,
        days.message_type,
        nullif(days.event_name, '') as event,
        days.message_count,
        coalesce(violations.violation_count, 0) as violation_count,
        coalesce(violations.violating_message_count, 0) as violating_message_count,
        coalesce(violations.blocked_message_count, 0) as blocked_message_count,
        case
            when days.message_count > 0
                then {{ revetl.ratio(
                    'coalesce(violations.violating_message_count, 0)',
                    'days.message_count') }}
        end as violation_rate,
        days.is_new_event,
        days.is_vanished_event,
        coalesce(new_names.new_property_count, 0) as new_property_count,
        new_names.new_properties,
        coalesce(vanished_names.vanished_property_count, 0) as vanished_property_count,
        vanished_names.vanished_properties
    from days
    left join violations
        on
            days.message_type = violations.message_type
            and days.event_name = violations.event_name
            and days.day = violations.day
    left join new_names
        on
            days.message_type = new_names.message_type
            and days.event_name = new_names.event_name
            and days.day = new_names.day
    left join vanished_names
        on
            days.message_type = vanished_names.message_type
            and days.event_name = vanished_names.event_name
            and days.day = vanished_names.day

)

select * from quality
