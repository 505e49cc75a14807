{{ config(materialized=revetl.view_kind(), enabled=revetl.has_part('delivery')) }}

with changes as (

    select * from {{ revetl.live(revetl.state_table('sync_changes')) }}

),

suppressions as (

    select * from {{ revetl.live(revetl.state_table('suppressions')) }}

),

held_identifiers as (

    {{ revetl.held_identifiers() }}

),

still_held as (

    {{ revetl.suppressed_and_held('held_identifiers', 'suppressions') }}

),

removed as (

    select
        sync,
        {{ revetl.quoted('key') }},
        caused_at as suppressed_at,
        changed_at as removed_at,
        run_id
    from changes
    where
        operation = 'remove'
        and cause = 'suppressed'
        and outcome = 'delivered'

),

people as (

    select
        sync,
        {{ revetl.quoted('key') }},
        suppressed_at,
        removed_at,
        run_id,
        {{ revetl.truth('false') }} as is_open
    from removed
    union all
    select
        sync,
        {{ revetl.quoted('key') }},
        suppressed_at,
        null as removed_at,
        null as run_id,
        {{ revetl.truth('true') }} as is_open
    from still_held

),

ended as (

    select
        *,
        coalesce(removed_at, {{ revetl.utc_now() }}) as ended_at
    from people

),

lags as (

    select
        sync,
        {{ revetl.audience_of('sync') }} as audience,
        {{ revetl.destination_of('sync') }} as destination,
        {{ revetl.quoted('key') }},
        suppressed_at,
        removed_at,
        {{ revetl.seconds_between('suppressed_at', 'ended_at') }} as lag_seconds,
        run_id,
        is_open
    from ended

)

select * from lags
