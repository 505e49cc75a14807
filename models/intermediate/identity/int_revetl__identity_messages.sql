{{ config(materialized=revetl.view_kind()) }}

with messages as (

    select * from {{ ref('revetl', 'int_revetl__identity_sources') }}

),

{{ revetl.normalised_identifiers('messages', 'placed') }}

select * from placed
