{{ config(materialized=revetl.view_kind(), enabled=revetl.has_part('membership')) }}

with changes as (

    select * from {{ revetl.live(revetl.state_table('audience_changes')) }}
    where {{ revetl.of_this_target() }}

),

builds as (

    select
        audience,
        invocation_id,
        min(changed_at) as built_at,
        min(recorded_at) as recorded_at,
        sum(case when change = 'entered' then 1 else 0 end) as entered_rows,
        sum(case when change = 'left' then 1 else 0 end) as left_rows
    from changes
    group by
        audience,
        invocation_id

),

counted as (

    select
        audience,
        invocation_id,
        built_at,
        entered_rows,
        left_rows,
        sum(entered_rows - left_rows) over (
            partition by audience
            order by recorded_at
            rows between unbounded preceding and current row
        ) as member_rows,
        recorded_at
    from builds

)

select * from counted
