{# A row is told from another by message and hash together: the hash is quick, and the message makes it sure. #}
{{ config(materialized='incremental', tags=['identity_increment'], on_schema_change='fail') }}

{% set sighted = revetl.relation_there('identity_sightings') if revetl.identity_increment() else none %}

with stars as (

    select * from {{ ref('identity_stars') }}

),

{% if sighted is not none %}
sightings as (

    select * from {{ sighted }}

),

-- Days on which nothing changed are told by their sums; rows are compared on the others.
days_now as (

    select
        source,
        cast(timestamp as date) as day,
        count(*) as row_count,
        sum(cast(sighting_hash as decimal(38, 0))) as hash_sum
    from stars
    group by
        source,
        cast(timestamp as date)

),

days_then as (

    select
        source,
        cast(timestamp as date) as day,
        count(*) as row_count,
        sum(cast(sighting_hash as decimal(38, 0))) as hash_sum
    from sightings
    group by
        source,
        cast(timestamp as date)

),

changed_days as (

    select
        coalesce(days_now.source, days_then.source) as source,
        coalesce(days_now.day, days_then.day) as day
    from days_now
    full outer join days_then
        on days_now.source = days_then.source and days_now.day = days_then.day
    where
        days_now.day is null
        or days_then.day is null
        or days_now.row_count <> days_then.row_count
        or days_now.hash_sum <> days_then.hash_sum

),

stars_of_days as (

    select stars.*
    from stars
    inner join changed_days
        on stars.source = changed_days.source and cast(stars.timestamp as date) = changed_days.day

),

sightings_of_days as (

    select sightings.*
    from sightings
    inner join changed_days
        on sightings.source = changed_days.source and cast(sightings.timestamp as date) = changed_days.day

),

changes as (

    select
        case when stars_of_days.sighting_hash is null then 'gone' else 'new' end as change,
        coalesce(stars_of_days.source, sightings_of_days.source) as source,
        coalesce(stars_of_days.message_id, sightings_of_days.message_id) as message_id,
        coalesce(stars_of_days.timestamp, sightings_of_days.timestamp) as timestamp,
        coalesce(stars_of_days.left_type, sightings_of_days.left_type) as left_type,
        coalesce(stars_of_days.left_value, sightings_of_days.left_value) as left_value,
        coalesce(stars_of_days.right_type, sightings_of_days.right_type) as right_type,
        coalesce(stars_of_days.right_value, sightings_of_days.right_value) as right_value,
        coalesce(stars_of_days.is_leading, sightings_of_days.is_leading) as is_leading,
        coalesce(stars_of_days.sighting_hash, sightings_of_days.sighting_hash) as sighting_hash
    from stars_of_days
    full outer join sightings_of_days
        on
            stars_of_days.sighting_hash = sightings_of_days.sighting_hash
            and stars_of_days.message_id = sightings_of_days.message_id
    where stars_of_days.sighting_hash is null or sightings_of_days.sighting_hash is null

),
{% else %}
changes as (

    select
        'new' as change,
        stars.*
    from stars
    where false

),
{% endif %}

numbered as (

    select
        change,
        source,
        message_id,
        timestamp,
        left_type,
        left_value,
        {{ revetl.node_id('left_type', 'left_value') }} as left_node,
        right_type,
        right_value,
        {{ revetl.node_id('right_type', 'right_value') }} as right_node,
        is_leading,
        sighting_hash,
        '{{ invocation_id }}' as batch
    from changes

)

select * from numbered
