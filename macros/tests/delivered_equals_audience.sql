{# The destination `to` holds exactly the members of the audience: less those it rejected, who are held out, who are
   suppressed, and who are in a variant that the sync does not send. Modes without removes may have more. One row per missing or unexpected key.

   Who is left out by exclude, priority or limit stands in no table; for a sync with one of them, as many members may be
   missing as the last run left out. #}
{% test delivered_equals_audience(model, to, key) %}
{{ config(severity='warn', tags=['delivery']) }}
{% set sync = revetl.tested_sync(to) %}
{% set text = revetl.type_of('varchar') %}
with members as (

    select distinct cast({{ revetl.quoted(key) }} as {{ text }}) as {{ revetl.quoted('key') }}
    from {{ model }}
    {%- if sync.split %}
    where {{ revetl.variant_of(revetl.quoted(key), sync.split, sync.salt) }} in (
        {%- for variant in sync.variants %}{{ revetl.text_literal(variant) }}{{ ', ' if not loop.last }}{% endfor -%}
    )
    {%- endif %}

),

held as (

    select
        {{ revetl.quoted('key') }},
        acknowledged_at
    from {{ revetl.state_table('sync_state') }}
    where sync = {{ sync.name }}

),

rejected as (

    select {{ revetl.quoted('key') }}
    from {{ revetl.state_table('sync_rejections') }}
    where sync = {{ sync.name }}

),

kept_back as (

    select {{ revetl.quoted('key') }}
    from {{ revetl.state_table('audience_holdouts') }}
    where sync = {{ sync.name }}
    {{ revetl.union_distinct() }}
    select {{ revetl.quoted('key') }} from (
{{ revetl.suppressed_members(key) }}
    ) as suppressed

),

last_run as (

    select
        left_out_rows,
        row_number() over (order by started_at desc, run_id desc) as place
    from {{ revetl.state_table('sync_runs') }}
    where sync = {{ sync.name }} and left_out_rows is not null

),

compared as (

    select
        coalesce(members.{{ revetl.quoted('key') }}, held.{{ revetl.quoted('key') }}) as {{ revetl.quoted('key') }},
        members.{{ revetl.quoted('key') }} is not null as is_member,
        held.{{ revetl.quoted('key') }} is not null as is_held,
        held.acknowledged_at is not null as is_acknowledged,
        rejected.{{ revetl.quoted('key') }} is not null as is_rejected,
        kept_back.{{ revetl.quoted('key') }} is not null as is_kept_back
    from members
    full outer join held
        on members.{{ revetl.quoted('key') }} = held.{{ revetl.quoted('key') }}
    left join rejected
        on rejected.{{ revetl.quoted('key') }} = coalesce(members.{{ revetl.quoted('key') }}, held.{{ revetl.quoted('key') }})
    left join kept_back
        on kept_back.{{ revetl.quoted('key') }} = coalesce(members.{{ revetl.quoted('key') }}, held.{{ revetl.quoted('key') }})

),

judged as (

    select
        {{ revetl.quoted('key') }},
        case
            when is_rejected then null
            when is_held and is_kept_back then 'held, though held out or suppressed'
            {%- if sync.mode in ['mirror', 'archive'] %}
            when is_held and not is_member then 'held, and no member'
            {%- endif %}
            when is_member and not is_acknowledged and not is_kept_back then 'missing'
        end as complaint,
        sum(case when is_member and not is_acknowledged and not is_rejected then 1 else 0 end) over () as absent
    from compared

)

select
    {{ revetl.quoted('key') }},
    complaint
from judged
where
    complaint is not null
    {%- if sync.leaves_out %}
    and (
        complaint <> 'missing'
        or absent > coalesce((select left_out_rows from last_run where place = 1), 0)
    )
    {%- endif %}
{% endtest %}
