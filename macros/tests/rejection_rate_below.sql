{# In the last run to the destination `to` that sent anything, a share below `rate` was rejected; a rate of 0 allows
   none. The run, when it was not so. #}
{% test rejection_rate_below(model, to, rate) %}
{{ config(severity='warn', tags=['delivery']) }}
{% set sync = revetl.tested_sync(to) %}
with runs as (

    select
        run_id,
        started_at,
        attempted_add + attempted_update + attempted_remove as attempted,
        rejected_add + rejected_update + rejected_remove as rejected
    from {{ revetl.state_table('sync_runs') }}
    where sync = {{ sync.name }} and status <> 'running'

),

numbered as (

    select
        *,
        row_number() over (order by started_at desc, run_id desc) as place
    from runs
    where attempted > 0

)

select
    run_id,
    started_at,
    attempted,
    rejected
from numbered
where place = 1 and rejected > 0 and rejected >= {{ rate }} * attempted
{% endtest %}
