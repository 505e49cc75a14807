{{ config(materialized=revetl.view_kind(), enabled=revetl.has_part('delivery')) }}

with rejections as (

    select * from {{ revetl.live(revetl.state_table('sync_rejections')) }}

),

reasons as (

    select
        sync,
        {{ revetl.audience_of('sync') }} as audience,
        {{ revetl.destination_of('sync') }} as destination,
        operation,
        field,
        reason,
        count(*) as record_count,
        cast(sum(attempts) as {{ revetl.type_of('bigint') }}) as attempt_count,
        {{ revetl.min_text(revetl.quoted('key')) }} as example_key,
        min(first_rejected_at) as first_rejected_at,
        max(last_rejected_at) as last_rejected_at
    from rejections
    group by
        sync,
        operation,
        field,
        reason

)

select * from reasons
