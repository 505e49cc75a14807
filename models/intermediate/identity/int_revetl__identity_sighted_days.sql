{# What int_revetl__identity_changes compares the next build's days with; made after the sightings, of sums
   that were taken before them: what lands in between is found twice rather than never. #}
{{ config(tags=['identity_increment']) }}

with days as (

    select * from {{ ref('revetl', 'int_revetl__identity_days') }}

),

-- depends_on: {{ ref('revetl', 'int_revetl__identity_sightings') }}
sighted as (

    select * from days

)

select * from sighted
