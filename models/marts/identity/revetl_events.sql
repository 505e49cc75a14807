{{ config(materialized=revetl.view_kind()) }}

with sightings as (

    select * from {{ ref('revetl', 'int_revetl__identity_sightings') }}
    where {{ revetl.is_true('is_leading') }}

),

graph as (

    select * from {{ ref('revetl', 'int_revetl__identity_graph') }}

),

events as (

    select
        sightings.source,
        sightings.message_id,
        sightings.timestamp,
        graph.canonical_id,
        graph.identifier_type,
        graph.identifier_value
    from sightings
    inner join graph
        on
            sightings.left_type = graph.identifier_type
            and sightings.left_value = graph.identifier_value

)

select * from events
