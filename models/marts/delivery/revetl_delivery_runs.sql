{{ config(materialized=revetl.view_kind(), enabled=revetl.has_part('delivery')) }}

with runs as (

    select * from {{ revetl.live(revetl.state_table('sync_runs')) }}

),

-- A run has a column an operation and count; a row an operation is what charts and tests want.
operations as (

    {% for operation in ['add', 'update', 'remove'] %}
    select
        run_id,
        sync,
        audience,
        destination,
        mode,
        '{{ operation }}' as operation,
        status,
        started_at,
        finished_at,
        planned_{{ operation }} as planned,
        attempted_{{ operation }} as attempted,
        delivered_{{ operation }} as delivered,
        rejected_{{ operation }} as rejected,
        aborted_{{ operation }} as aborted,
        stopped_by,
        forced,
        error,
        git_sha,
        dbt_invocation_id,
        revetl_version
    from runs
    {% if not loop.last %}union all{% endif %}
    {% endfor %}

),

counted as (

    select
        run_id,
        sync,
        audience,
        destination,
        mode,
        operation,
        status,
        started_at,
        finished_at,
        {{ revetl.seconds_between('started_at', 'finished_at') }} as duration_seconds,
        planned,
        attempted,
        delivered,
        rejected,
        attempted - delivered - rejected as unknown,
        aborted,
        stopped_by,
        forced,
        error,
        git_sha,
        dbt_invocation_id,
        revetl_version
    from operations

)

select * from counted
