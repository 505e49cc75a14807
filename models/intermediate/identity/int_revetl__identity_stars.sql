{{ config(materialized=revetl.view_kind()) }}

with messages as (

    select * from {{ ref('revetl', 'int_revetl__identity_messages') }}

),

{{ revetl.pairs_of_identifiers('messages', 'stars') }}

select * from stars
