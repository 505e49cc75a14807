{{ config(materialized=revetl.view_kind(), enabled=revetl.has_part('delivery')) }}

with runs as (

    select * from {{ revetl.live(revetl.state_table('sync_runs')) }}

),

held_now as (

    select
        sync,
        count(*) as held_rows
    from {{ revetl.live(revetl.state_table('sync_state')) }}
    group by sync

),

-- What a run left behind is what the next one of the sync, even one under way, found.
followed as (

    select
        *,
        {{ revetl.truth('lead(run_id) over (partition by sync order by started_at, run_id) is not null') }}
            as is_followed,
        lead(held_rows) over (
            partition by sync
            order by
                started_at,
                run_id
        ) as held_rows_next
    from runs

),

ended as (

    select
        followed.run_id,
        followed.sync,
        followed.audience,
        followed.destination,
        followed.mode,
        followed.status,
        followed.started_at,
        followed.finished_at,
        followed.audience_rows,
        followed.left_out_rows,
        followed.held_rows as held_rows_before,
        followed.delivered_add as added_rows,
        followed.delivered_remove as removed_rows,
        case
            when {{ revetl.is_true('followed.is_followed') }} then followed.held_rows_next
            else coalesce(held_now.held_rows, 0)
        end as held_rows_after
    from followed
    left join held_now
        on followed.sync = held_now.sync
    where followed.status <> 'running'

),

sizes as (

    select
        *,
        held_rows_after - held_rows_before - added_rows + removed_rows as other_rows
    from ended

)

select * from sizes
