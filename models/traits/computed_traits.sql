with event_traits as (

    select * from {{ ref('event_traits') }}

),

{{ revetl.traits_together('profile', 'canonical_id') }}

select * from computed
