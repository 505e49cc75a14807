{{ config(materialized='connected_components') }}

with edges as (

    select
        left_id,
        right_id
    from {{ ref('identity_edges') }}

),

-- An identifier that was only ever seen alone is a component of its own.
identifiers as (

    select
        identifier_id as left_id,
        identifier_id as right_id
    from {{ ref('identity_identifiers') }}

),

pairs as (

    select * from edges
    union all
    select * from identifiers

)

select * from pairs
