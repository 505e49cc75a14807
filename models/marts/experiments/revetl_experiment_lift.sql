{# What the variants of an experiment brought, against its control group. #}
{{ config(materialized=revetl.view_kind(), enabled=revetl.has_part('experiments')) }}

{% set experiments = revetl.experiments() %}
{{ revetl.warn_of_missing_goals(experiments) }}
{% set varchar, double = revetl.type_of('varchar'), revetl.type_of('double') %}

with members as (

    select * from {{ ref('revetl', 'revetl_experiment_members') }}

),

declared as (

    {% set arms = [] %}
    {% for experiment in experiments %}
    {% for arm in revetl.arms(experiment.split) %}
    {% do arms.append((experiment, arm)) %}
    {% endfor %}
    {% endfor %}
    {% for experiment, arm in arms %}
    {{ 'union all' if not loop.first }}
    select
        cast({{ revetl.text_literal(experiment.name) }} as {{ varchar }}) as experiment,
        cast({{ revetl.text_literal(arm.name) }} as {{ varchar }}) as variant,
        cast({{ arm.share }} as {{ double }}) as share,
        cast({{ revetl.chi_squared(experiment.split | length - 1) }} as {{ double }}) as most_chi_squared
    {% else %}
    select
        experiment,
        variant,
        cast(0 as {{ double }}) as share,
        cast(0 as {{ double }}) as most_chi_squared
    from members
    where {{ revetl.never() }}
    {% endfor %}

),

counted as (

    select
        experiment,
        variant,
        max(goal) as goal,
        cast(count(*) as {{ double }}) as members,
        cast(count(delivered_at) as {{ double }}) as delivered,
        cast(count(converted_at) as {{ double }}) as converted
    from members
    group by
        experiment,
        variant

),

arms as (

    select
        declared.experiment,
        declared.variant,
        declared.share,
        declared.most_chi_squared,
        max(counted.goal) over (partition by declared.experiment) as goal,
        coalesce(counted.members, 0) as members,
        coalesce(counted.delivered, 0) as delivered,
        coalesce(counted.converted, 0) as converted
    from declared
    left join counted
        on
            declared.experiment = counted.experiment
            and declared.variant = counted.variant

),

totals as (

    select
        experiment,
        sum(members) as members,
        max(case when variant = 'control' then members end) as control_members,
        max(case when variant = 'control' then converted end) as control_converted
    from arms
    group by experiment

),

compared as (

    select
        arms.*,
        totals.members as all_members,
        totals.control_members,
        totals.control_converted,
        arms.converted / nullif(arms.members, 0) as conversion_rate,
        totals.control_converted / nullif(totals.control_members, 0) as control_rate,
        arms.delivered / nullif(arms.members, 0) as delivered_share,
        (arms.members - totals.members * arms.share) * (arms.members - totals.members * arms.share)
        / nullif(totals.members * arms.share, 0) as chi_squared_part,
        -- Agresti and Caffo (2000): a success and a failure more in each group.
        (arms.converted + 1) / (arms.members + 2) as adjusted_rate,
        (totals.control_converted + 1) / (totals.control_members + 2) as adjusted_control_rate
    from arms
    inner join totals
        on arms.experiment = totals.experiment

),

measured as (

    select
        *,
        conversion_rate - control_rate as lift,
        adjusted_rate - adjusted_control_rate as adjusted_lift,
        1.959964 * sqrt(
            adjusted_rate * (1 - adjusted_rate) / (members + 2)
            + adjusted_control_rate * (1 - adjusted_control_rate) / (control_members + 2)
        ) as half_width,
        sum(chi_squared_part) over (partition by experiment) as chi_squared
    from compared

),

reported as (

    select
        experiment,
        variant,
        goal,
        share as expected_share,
        cast(members as {{ revetl.type_of('bigint') }}) as members,
        cast(delivered as {{ revetl.type_of('bigint') }}) as delivered,
        cast(converted as {{ revetl.type_of('bigint') }}) as converted,
        case when goal is not null then conversion_rate end as conversion_rate,
        case when variant <> 'control' and goal is not null then lift end as lift,
        case when variant <> 'control' and goal is not null then adjusted_lift - half_width end as lift_low,
        case when variant <> 'control' and goal is not null then adjusted_lift + half_width end as lift_high,
        case
            when variant <> 'control' and goal is not null then lift / nullif(control_rate, 0)
        end as relative_lift,
        case when variant <> 'control' and goal is not null then lift / nullif(delivered_share, 0) end
            as delivered_lift,
        case
            when variant <> 'control' and goal is not null
                then (adjusted_lift - half_width) / nullif(delivered_share, 0)
        end as delivered_lift_low,
        case
            when variant <> 'control' and goal is not null
                then (adjusted_lift + half_width) / nullif(delivered_share, 0)
        end as delivered_lift_high,
        chi_squared,
        {{ revetl.truth('chi_squared > most_chi_squared') }} as is_sample_ratio_mismatch
    from measured

)

select * from reported
