{{ config(materialized='patched', key='left_node', stale='identity_changes', tags=['identity_increment']) }}

with sightings as (

    select * from {{ ref('identity_sightings') }}

),

-- depends_on: {{ ref('identity_changes') }}
{% if revetl.identity_increment() %}
changed as (

    select distinct left_node
    from {{ ref('identity_changes') }}

),

looked_at as (

    select sightings.*
    from sightings
    inner join changed
        on sightings.left_node = changed.left_node

),
{% else %}
looked_at as (

    select * from sightings

),
{% endif %}

pairs as (

    select
        left_type,
        left_value,
        left_node,
        right_type,
        right_value,
        right_node,
        source,
        min(timestamp) as first_seen_at,
        max(timestamp) as last_seen_at,
        count(*) as message_count
    from looked_at
    group by
        left_type,
        left_value,
        left_node,
        right_type,
        right_value,
        right_node,
        source

)

select * from pairs
