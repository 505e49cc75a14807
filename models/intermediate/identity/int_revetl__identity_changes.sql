{# A row is told from another by message and hash together: the hash is quick, and the message makes it sure.
   Only the messages are compared of which something may have changed: `identity_parts`. #}
{{ config(materialized='patched', tags=['identity_increment']) }}

{% set increment = revetl.identity_increment() %}
{% set sighted = revetl.relation_there('int_revetl__identity_sightings') if increment else none %}
{% set parts = revetl.identity_parts(revetl.changed_days()) if sighted is not none else none %}
{# Written in any case, so that dbt knows what they are made of. #}
{% set steps = [
    revetl.shown_identifiers('identifiers', parts),
    revetl.normalised_identifiers('identifiers', 'messages', parts, sighted),
    revetl.pairs_of_identifiers('messages', 'stars'),
] %}

-- depends_on: {{ ref('revetl', 'int_revetl__identity_days') }}
-- depends_on: {{ ref('revetl', 'int_revetl__message_changes') }}
{% if sighted is not none %}
with {{ steps | join(',\n\n') }},

sightings as (

    {{ revetl.rows_of_parts(sighted, parts) }}

),

changes as (

    select
        case when stars.sighting_hash is null then 'gone' else 'new' end as change,
        coalesce(stars.source, sightings.source) as source,
        coalesce(stars.message_id, sightings.message_id) as message_id,
        coalesce(stars.timestamp, sightings.timestamp) as timestamp,
        coalesce(stars.left_node, sightings.left_node) as left_node,
        coalesce(stars.left_type, sightings.left_type) as left_type,
        coalesce(stars.left_value, sightings.left_value) as left_value,
        coalesce(stars.right_node, sightings.right_node) as right_node,
        coalesce(stars.right_type, sightings.right_type) as right_type,
        coalesce(stars.right_value, sightings.right_value) as right_value,
        coalesce(stars.is_leading, sightings.is_leading) as is_leading,
        coalesce(stars.sighting_hash, sightings.sighting_hash) as sighting_hash
    from stars
    full outer join sightings
        on
            stars.sighting_hash = sightings.sighting_hash
            and stars.message_id = sightings.message_id
    where stars.sighting_hash is null or sightings.sighting_hash is null

),
{% else %}
with changes as (

    select
        'new' as change,
        stars.*
    from {{ ref('revetl', 'int_revetl__identity_stars') }} as stars
    where {{ revetl.never() }}

),
{% endif %}

batch as (

    select
        change,
        source,
        message_id,
        timestamp,
        left_node,
        left_type,
        left_value,
        right_node,
        right_type,
        right_value,
        is_leading,
        sighting_hash,
        '{{ invocation_id }}' as batch
    from changes

)

select * from batch
