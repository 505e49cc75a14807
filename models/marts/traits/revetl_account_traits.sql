{{ config(enabled=revetl.traits(of='account') != []) }}

{% set traits = revetl.traits(revetl.message_trait_types(), 'account') %}

with members as (

    select * from {{ ref('revetl', 'revetl_account_members') }}

),

graph as (

    select * from {{ ref('revetl', 'int_revetl__identity_graph') }}

),

events as (

    select
        members.account_id,
        trait_events.*
    from {{ ref('revetl', 'int_revetl__trait_events') }} as trait_events
    inner join graph
        on trait_events.node_id = graph.node_id
    inner join members
        on graph.canonical_id = members.canonical_id

),

{{ revetl.trait_query(traits, 'account_id') }},

event_traits as (

    select * from together

),

{{ revetl.traits_together('account', 'account_id') }}

select * from computed
