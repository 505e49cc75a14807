{# The tracking plan that `revetl protocols compile` wrote into the project; without one, an empty plan. #}
{% macro tracking_plan() -%}
    {% set plan = adapter.dispatch('tracking_plan', 'revetl')() -%}
    {% if plan.form not in [1, 2] -%}
        {% do exceptions.raise_compiler_error(
            'tracking_plan.sql was written by another version of revetl. Run `revetl protocols compile`.') -%}
    {% endif -%}
    {{ return(plan) }}
{%- endmacro %}

{# Whether the plan says anything of the messages of a type. #}
{% macro is_planned(plan, type) -%}
    {{ return(
        plan.documents | selectattr('type', 'equalto', type) | list | length > 0
        or (type == 'track' and not revetl.is_allowed(plan.unplanned_events))) }}
{%- endmacro %}
