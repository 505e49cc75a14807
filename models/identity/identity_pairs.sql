{{ config(materialized='patched', key='left_node', stale='identity_changes', tags=['identity_increment']) }}

with sightings as (

    select * from {{ ref('identity_sightings') }}

),

-- depends_on: {{ ref('identity_changes') }}
{% if revetl.identity_increment() %}
changed as (

    select distinct
        left_type,
        left_value
    from {{ ref('identity_changes') }}

),

looked_at as (

    select sightings.*
    from sightings
    inner join changed
        on sightings.left_type = changed.left_type and sightings.left_value = changed.left_value

),
{% else %}
looked_at as (

    select * from sightings

),
{% endif %}

counted as (

    select
        left_type,
        left_value,
        right_type,
        right_value,
        source,
        min(timestamp) as first_seen_at,
        max(timestamp) as last_seen_at,
        count(*) as message_count
    from looked_at
    group by
        left_type,
        left_value,
        right_type,
        right_value,
        source

),

pairs as (

    select
        left_type,
        left_value,
        {{ revetl.node_id('left_type', 'left_value') }} as left_node,
        right_type,
        right_value,
        {{ revetl.node_id('right_type', 'right_value') }} as right_node,
        source,
        first_seen_at,
        last_seen_at,
        message_count
    from counted

)

select * from pairs
