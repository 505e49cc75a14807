{{ config(enabled=revetl.has_part('protocols')) }}
{% set layout = revetl.storage('timestamp', keys=['message_id']) %}
{% if layout %}
    {% do config(**layout) %}
{% endif %}
{% set plan = revetl.tracking_plan() %}
{{ revetl.plan_violations(plan, revetl.planned_messages(plan)) }}
