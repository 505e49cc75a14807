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

nodes as (

    select node_id
    from touched
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
