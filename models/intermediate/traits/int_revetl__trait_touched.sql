{# Whose traits a build makes anew: who may have other messages than at the last build, and who has an event
   that has since come into a window or left it. #}
{{ config(tags=['trait_increment']) }}

{% set windows = revetl.trait_windows() %}

with touched as (

    select * from {{ ref('revetl', 'int_revetl__identity_touched') }}

),

graph as (

    select * from {{ ref('revetl', 'int_revetl__identity_graph') }}

),

-- depends_on: {{ ref('revetl', 'int_revetl__trait_events') }}
{% if windows %}
events as (

    select * from {{ ref('revetl', 'int_revetl__trait_events') }}

),
{% endif %}

-- An edited message may show who it showed, and say something else of them.
edited as (

    select sightings.left_node as node_id
    from {{ ref('revetl', 'int_revetl__identity_sightings') }} as sightings
    inner join {{ ref('revetl', 'int_revetl__changed_messages') }} as changed
        on
            sightings.source = changed.source
            and sightings.message_id = changed.message_id
            and sightings.timestamp = changed.timestamp
    where {{ revetl.is_true('sightings.is_leading') }}

),

nodes as (

    select node_id
    from touched
    {{ revetl.union_distinct() }}
    select node_id
    from edited
    {%- for window in windows %}
    {{ revetl.union_distinct() }}
    select node_id
    from events
    where {{ window }}
    {%- endfor %}

),

-- A profile has the name of one of its identifiers: an old one's, of one that is touched.
people as (

    select node_id as profile_node
    from touched
    {{ revetl.union_distinct() }}
    select graph.profile_node
    from graph
    inner join nodes
        on graph.node_id = nodes.node_id

)

select * from people
