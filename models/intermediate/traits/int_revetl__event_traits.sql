{{ config(
    materialized='patched',
    meta={'key': 'profile_node', 'stale': 'int_revetl__trait_touched', 'made_by': revetl.traits_hash(), 'is_dated': true},
    tags=['trait_increment'],
    **revetl.storage(keys=['profile_node'])
) }}

{% set traits = revetl.traits(revetl.message_trait_types()) %}

with all_people as (

    select * from {{ ref('revetl', 'int_revetl__identity_graph') }}

),

-- depends_on: {{ ref('revetl', 'int_revetl__trait_touched') }}
{% if revetl.is_patch(revetl.traits_hash()) %}
people_made_anew as (

    select all_people.*
    from all_people
    inner join {{ ref('revetl', 'int_revetl__trait_touched') }} as touched
        on all_people.profile_node = touched.profile_node

),
{% else %}
people_made_anew as (

    select * from all_people

),
{% endif %}

events as (

    select
        people_made_anew.profile_node,
        trait_events.*
    from {{ ref('revetl', 'int_revetl__trait_events') }} as trait_events
    inner join people_made_anew
        on trait_events.node_id = people_made_anew.node_id

),

{{ revetl.trait_query(traits, 'profile_node') }},

-- The node that names a profile is one of its own.
event_traits as (

    select
        people_made_anew.canonical_id,
        together.*,
        {{ revetl.as_of() }} as as_of,
        '{{ revetl.traits_hash() }}' as made_by
    from together
    inner join people_made_anew
        on together.profile_node = people_made_anew.node_id

)

select * from event_traits
