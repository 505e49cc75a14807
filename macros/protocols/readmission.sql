{# The query of what another plan, and other transformations, would change of what staging has: by type and event, how many messages are blocked now,
   how many of those it lets in, and how many it takes out. #}
{% macro plan_readmission(plan, transformations) -%}
    {% set staged = {
        'track': ref('revetl', 'stg_revetl__tracks'),
        'identify': ref('revetl', 'stg_revetl__identifies'),
        'group': ref('revetl', 'stg_revetl__groups'),
        'page': ref('revetl', 'stg_revetl__pages'),
        'screen': ref('revetl', 'stg_revetl__screens'),
    } -%}
    {% set text = revetl.type_of('varchar') -%}
with blocked_now as (

    select
        message_type,
        message_id,
        max(event) as event
    from {{ ref('revetl', 'revetl_tracking_plan_violations') }}
    where action = 'block'
    group by
        message_type,
        message_id

),

blocked_then as (

    select
        message_type,
        message_id
    from (

{{ revetl.plan_violations(plan, revetl.planned_messages(plan, transformations=transformations)) }}

    ) as violations
    where action = 'block'
    group by
        message_type,
        message_id

),

let_in as (

    select
        blocked_now.message_type,
        blocked_now.event,
        1 as blocked_count,
        case when blocked_then.message_id is null then 1 else 0 end as let_in_count,
        0 as taken_out_count
    from blocked_now
    left join blocked_then
        on
            blocked_now.message_type = blocked_then.message_type
            and blocked_now.message_id = blocked_then.message_id

),

taken_out as (

    {% for type, relation in staged.items() -%}
    select
        blocked_then.message_type,
        {{ 'staged.event_text' if type == 'track' else 'cast(null as ' ~ text ~ ')' }} as event,
        0 as blocked_count,
        0 as let_in_count,
        1 as taken_out_count
    from blocked_then
    inner join {{ relation }} as staged
        on blocked_then.message_id = staged.message_id
    where blocked_then.message_type = '{{ type }}'
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

changes as (

    select * from let_in
    union all
    select * from taken_out

),

summed as (

    select
        message_type,
        event,
        sum(blocked_count) as blocked_count,
        sum(let_in_count) as let_in_count,
        sum(taken_out_count) as taken_out_count
    from changes
    group by
        message_type,
        event

)

select * from summed
{%- endmacro %}
