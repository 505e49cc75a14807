{# The last run to the destination `to` that succeeded finished within `hours`, and nobody waits: the last run that
   ended aborted nothing, and no attempt is without an answer. With `allow_rejected`, a run in which some records were
   rejected counts as succeeded. One row a complaint. #}
{% test delivered_within(model, to, hours, allow_rejected=false) %}
{{ config(severity='warn', tags=['delivery']) }}
{% set sync = revetl.tested_sync(to) %}
with runs as (

    select
        status,
        finished_at,
        aborted_add + aborted_update + aborted_remove as aborted,
        row_number() over (order by started_at desc, run_id desc) as place
    from {{ revetl.state_table('sync_runs') }}
    where sync = {{ sync.name }} and status <> 'running' and coalesce(scope, 'all') = 'all'

),

last_success as (

    select max(finished_at) as finished_at
    from runs
    where status in ('success'{{ ", 'rejected'" if allow_rejected }})

),

unanswered as (

    select count(*) as members
    from {{ revetl.state_table('sync_state') }}
    where sync = {{ sync.name }} and pending_operation is not null

),

complaints as (

    select
        'no run succeeded within {{ hours }} hours' as complaint,
        finished_at as last_success_at,
        cast(null as {{ revetl.type_of('bigint') }}) as members
    from last_success
    where finished_at is null or finished_at < {{ revetl.hours_before(revetl.utc_now(), hours) }}
    union all
    select
        'the last run did not attempt them',
        null,
        aborted
    from runs
    where place = 1 and aborted > 0
    union all
    select
        'the last attempt was never answered',
        null,
        members
    from unanswered
    where members > 0

)

select * from complaints
{% endtest %}
