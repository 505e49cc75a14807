{{ config(materialized='view') }}

with pairs as (

    select * from {{ ref('identity_pairs') }}

),

edges as (

    select * from pairs
    where left_id <> right_id

)

select * from edges
