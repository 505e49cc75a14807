{{ config(materialized=revetl.view_kind()) }}

with event_traits as (

    select * from {{ ref('revetl', 'int_revetl__event_traits') }}

),

{{ revetl.traits_together('profile', 'canonical_id') }}

select * from computed
