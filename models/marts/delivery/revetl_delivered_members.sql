{{ config(materialized=revetl.view_kind(), enabled=revetl.has_part('delivery')) }}

with held as (

    select * from {{ revetl.live(revetl.state_table('sync_state')) }}

),

members as (

    select
        sync,
        {{ revetl.audience_of('sync') }} as audience,
        {{ revetl.destination_of('sync') }} as destination,
        {{ revetl.quoted('key') }},
        identifiers,
        fields,
        acknowledged_at,
        run_id,
        {{ revetl.truth('pending_operation is not null') }} as is_uncertain
    from held

)

select * from members
