{{ config(materialized='clusters_within_limits', tags=['identity_increment']) }}

with edges as (

    select * from {{ ref('revetl', 'int_revetl__identity_contested') }}

)

select * from edges
