{{ config(
    materialized='patched',
    meta={'key': ['left_node', 'right_node'], 'stale': 'int_revetl__identity_changes'},
    tags=['identity_increment'],
    **revetl.storage(keys=['left_node', 'right_node'])
) }}

with sightings as (

    select * from {{ ref('revetl', 'int_revetl__identity_sightings') }}

),

-- depends_on: {{ ref('revetl', 'int_revetl__identity_changes') }}
{% if revetl.identity_increment() %}
-- Names are taken from the changes: the sightings are many, and their names long.
changed as (

    select
        min(left_type) as left_type,
        min(left_value) as left_value,
        left_node,
        min(right_type) as right_type,
        min(right_value) as right_value,
        right_node
    from {{ ref('revetl', 'int_revetl__identity_changes') }}
    group by
        left_node,
        right_node

),

counted as (

    select
        sightings.left_node,
        sightings.right_node,
        sightings.source,
        min(sightings.timestamp) as first_seen_at,
        max(sightings.timestamp) as last_seen_at,
        count(*) as message_count
    from sightings
    inner join changed
        on
            sightings.left_node = changed.left_node
            and sightings.right_node = changed.right_node
    group by
        sightings.left_node,
        sightings.right_node,
        sightings.source

),

pairs as (

    select
        changed.left_type,
        changed.left_value,
        changed.left_node,
        changed.right_type,
        changed.right_value,
        changed.right_node,
        counted.source,
        counted.first_seen_at,
        counted.last_seen_at,
        counted.message_count
    from counted
    inner join changed
        on
            counted.left_node = changed.left_node
            and counted.right_node = changed.right_node

)
{% else %}
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
    from sightings
    group by
        left_type,
        left_value,
        left_node,
        right_type,
        right_value,
        right_node,
        source

)
{% endif %}

select * from pairs
